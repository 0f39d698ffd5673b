-- Which configuration decided what was signed, in force since when; columns as in `policy`.

CREATE TABLE configuration (
  number BIGINT PRIMARY KEY,
  digest TEXT NOT NULL,
  files TEXT NOT NULL,
  entry BIGINT NOT NULL,
  since_us BIGINT NOT NULL
);

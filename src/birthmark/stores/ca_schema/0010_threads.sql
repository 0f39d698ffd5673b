-- Entries of the log that are linked to each other and about no unit: an order's, and what was believed since when.

CREATE TABLE thread (
  name TEXT NOT NULL,
  number BIGINT NOT NULL,
  PRIMARY KEY (name, number)
);

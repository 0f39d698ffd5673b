-- One row that a health check writes, to see that the ledger can be written.

CREATE TABLE probe (
  id BIGINT PRIMARY KEY,
  at_us BIGINT NOT NULL
);

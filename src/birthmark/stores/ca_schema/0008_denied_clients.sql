-- Keys, rigs and persons that two persons have denied.

CREATE TABLE denied_client (
  client TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  since_us BIGINT NOT NULL
);

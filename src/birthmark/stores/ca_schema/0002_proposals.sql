-- Acts that need two persons. A proposal is known by the SHA-256 of its signed document; its ruling is written once.

CREATE TABLE proposal (
  number BIGINT PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  act TEXT NOT NULL,
  subject TEXT NOT NULL,
  document TEXT NOT NULL,
  certificate BYTEA NOT NULL,
  proposed_by TEXT NOT NULL,
  proposed_us BIGINT NOT NULL,
  expires_us BIGINT NOT NULL
);
CREATE INDEX proposal_expiry ON proposal (expires_us);

CREATE TABLE ruling (
  proposal_id TEXT PRIMARY KEY REFERENCES proposal (id),
  state TEXT NOT NULL,
  decided_by TEXT NOT NULL,
  decided_us BIGINT NOT NULL,
  reason TEXT NOT NULL,
  document TEXT NOT NULL,
  certificate BYTEA NOT NULL
);

-- What was said of a unit after it took its place: a scrapped one keeps it, a reworked one is made again in it.
ALTER TABLE order_unit ADD COLUMN scrapped BIGINT NOT NULL DEFAULT 0;
ALTER TABLE order_unit ADD COLUMN reworked BIGINT NOT NULL DEFAULT 0;
CREATE INDEX order_unit_order ON order_unit (order_id);
CREATE INDEX issuance_order ON issuance (order_id, unit_serial);

-- The life cycle of units, groups of chips that are denied, holds, and what is published about revocation.

CREATE TABLE unit (
  serial TEXT PRIMARY KEY,
  chip TEXT,
  state TEXT NOT NULL,
  since_us BIGINT NOT NULL,
  order_id TEXT NOT NULL,
  reason TEXT NOT NULL,
  resumes TEXT
);
CREATE INDEX unit_chip ON unit (chip);

-- Units that were born before this table was made.
INSERT INTO unit (serial, chip, state, since_us, order_id, reason)
SELECT i.unit_serial, i.chip, CASE WHEN i.requested_by LIKE 'device:%' THEN 'active' ELSE 'made' END, l.confirmed_us, i.order_id, ''
FROM issuance i JOIN life l ON l.serial = i.serial
WHERE i.number IN (
  SELECT max(n.number) FROM issuance n JOIN life m ON m.serial = n.serial WHERE m.confirmed_us IS NOT NULL GROUP BY n.unit_serial);

-- The attestation key that the evidence is under; empty where an earlier release did not keep it.
ALTER TABLE issuance ADD COLUMN ak_fingerprint TEXT NOT NULL DEFAULT '';
CREATE INDEX issuance_ak ON issuance (ak_fingerprint, number);
CREATE INDEX issuance_model ON issuance (chip_model, number);

-- All chips under one attestation key, or of one model; settled when none of their certificates is left.
CREATE TABLE denied_group (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  reason TEXT NOT NULL,
  since_us BIGINT NOT NULL,
  settled_us BIGINT,
  PRIMARY KEY (kind, name)
);

-- What becomes of a certificate again when the hold on it is released.
CREATE TABLE hold (
  serial TEXT PRIMARY KEY REFERENCES life (serial),
  dies_us BIGINT,
  ending TEXT
);

-- Endings that lie ahead keep the lists' feed position back.
CREATE INDEX ending_death ON ending (dies_us, number);

-- The list or OCSP response that was signed last under each key; next_us is its nextUpdate, head the endings it knew.
CREATE TABLE published (
  name TEXT PRIMARY KEY,
  digest BYTEA NOT NULL,
  number BIGINT NOT NULL,
  this_us BIGINT NOT NULL,
  next_us BIGINT NOT NULL,
  refresh_us BIGINT NOT NULL,
  body BYTEA NOT NULL
);
CREATE INDEX published_refresh ON published (refresh_us);

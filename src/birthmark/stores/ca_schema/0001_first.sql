-- The issuing authority's ledger. Moments are microseconds since 1970 (UTC); a chip is "maker/serial"; digests are hexadecimal.
-- Rows are only ever added, but for: production_order, life, nonce and nonce_use (forgotten after a day), denied_chip.

CREATE TABLE production_order (
  id TEXT PRIMARY KEY,
  product TEXT NOT NULL,
  quantity BIGINT NOT NULL CHECK (quantity > 0),
  chip_models TEXT NOT NULL,
  rigs TEXT NOT NULL,
  first_unit TEXT NOT NULL,
  last_unit TEXT NOT NULL,
  not_before_us BIGINT NOT NULL,
  not_after_us BIGINT NOT NULL,
  profile TEXT NOT NULL,
  document TEXT NOT NULL,
  approved_us BIGINT,
  closed_us BIGINT,
  units BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE order_unit (
  order_id TEXT NOT NULL REFERENCES production_order (id),
  unit_serial TEXT NOT NULL,
  PRIMARY KEY (unit_serial, order_id)
);

-- What was intended, written before the signature is made. It never changes.
CREATE TABLE issuance (
  number BIGINT PRIMARY KEY,
  serial TEXT NOT NULL UNIQUE,
  unit_serial TEXT NOT NULL,
  chip TEXT NOT NULL,
  chip_model TEXT NOT NULL,
  hw_type TEXT NOT NULL,
  spki BYTEA NOT NULL,
  evidence BYTEA NOT NULL,
  order_id TEXT NOT NULL,
  product TEXT NOT NULL,
  organization TEXT NOT NULL,
  profile TEXT NOT NULL,
  requested_by TEXT NOT NULL,
  intended_us BIGINT NOT NULL,
  validity_days BIGINT NOT NULL
);

-- What becomes of it: one row per issuance.
CREATE TABLE life (
  serial TEXT PRIMARY KEY REFERENCES issuance (serial),
  unit_serial TEXT NOT NULL,
  chip TEXT NOT NULL,
  expires_us BIGINT NOT NULL,
  confirmed_us BIGINT,
  dies_us BIGINT,
  ending TEXT,
  CHECK ((dies_us IS NULL) = (ending IS NULL))
);
CREATE INDEX life_chip ON life (chip);
CREATE INDEX life_unit ON life (unit_serial);
CREATE INDEX life_death ON life (dies_us) WHERE dies_us IS NOT NULL;
-- The rule "one open-ended life per chip and per unit", below the code that decides.
CREATE UNIQUE INDEX one_life_per_chip ON life (chip) WHERE dies_us IS NULL;
CREATE UNIQUE INDEX one_life_per_unit ON life (unit_serial) WHERE dies_us IS NULL;

CREATE TABLE certificate (
  serial TEXT PRIMARY KEY REFERENCES issuance (serial),
  sha256 TEXT NOT NULL UNIQUE,
  der BYTEA NOT NULL
);

-- Every decision to end a life, in the order in which they were taken: what relying parties follow.
CREATE TABLE ending (
  number BIGINT PRIMARY KEY,
  serial TEXT NOT NULL REFERENCES issuance (serial),
  dies_us BIGINT NOT NULL,
  ending TEXT NOT NULL
);

CREATE TABLE nonce (
  digest TEXT PRIMARY KEY,
  holder TEXT NOT NULL,
  unit_serial TEXT NOT NULL,
  expires_us BIGINT NOT NULL
);
CREATE INDEX nonce_unit ON nonce (unit_serial);
CREATE INDEX nonce_expiry ON nonce (expires_us);

CREATE TABLE nonce_use (
  digest TEXT PRIMARY KEY,
  serial TEXT NOT NULL REFERENCES issuance (serial)
);

CREATE TABLE birth (
  certificate_sha256 TEXT PRIMARY KEY REFERENCES certificate (sha256),
  received_us BIGINT NOT NULL,
  jws TEXT NOT NULL
);

CREATE TABLE denied_chip (
  chip TEXT PRIMARY KEY,
  reason TEXT NOT NULL
);

-- The transparency log: one entry per decision, numbered from 0 without a gap.
CREATE TABLE leaf (
  number BIGINT PRIMARY KEY,
  unit_serial TEXT NOT NULL,
  entry BYTEA NOT NULL
);
CREATE INDEX leaf_unit ON leaf (unit_serial) WHERE unit_serial <> '';

CREATE TABLE tile (
  level BIGINT NOT NULL,
  number BIGINT NOT NULL,
  hashes BYTEA NOT NULL,
  PRIMARY KEY (level, number)
);

CREATE TABLE checkpoint (
  size BIGINT PRIMARY KEY,
  note TEXT NOT NULL
);

-- What auditors must be able to read later: documents by their SHA-256, and which appraisal policy was in force since when.

CREATE TABLE document (
  sha256 TEXT PRIMARY KEY,
  content BYTEA NOT NULL
);

-- `files` maps names to the digests of documents; `entry` is the number of the log entry that says so.
CREATE TABLE policy (
  number BIGINT PRIMARY KEY,
  digest TEXT NOT NULL,
  files TEXT NOT NULL,
  entry BIGINT NOT NULL,
  since_us BIGINT NOT NULL
);

-- The tables are held against the log, certificate by certificate.
CREATE INDEX ending_serial ON ending (serial);

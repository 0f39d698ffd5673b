-- Tickets with which rigs get their first certificate, by SHA-256; spki is that of the key that used it, or nothing.

CREATE TABLE rig_ticket (
  digest TEXT PRIMARY KEY,
  proposal TEXT NOT NULL,
  spki TEXT NOT NULL DEFAULT '',
  certificate BYTEA
);

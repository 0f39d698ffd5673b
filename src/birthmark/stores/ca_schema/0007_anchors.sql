-- Which trust anchors a unit named last, and with which certificate: what shows how far a new root has come.

CREATE TABLE unit_anchors (
  unit_serial TEXT PRIMARY KEY,
  certificate TEXT NOT NULL,
  anchors TEXT NOT NULL,
  at_us BIGINT NOT NULL
);

-- Roots that two persons have retired; `successor` is the one in whose favour.
CREATE TABLE retired_root (
  sha256 TEXT PRIMARY KEY,
  successor TEXT NOT NULL,
  at_us BIGINT NOT NULL
);

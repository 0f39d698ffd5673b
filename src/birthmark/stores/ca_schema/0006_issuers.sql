-- Several issuing keys, certificates of several kinds, and identities that stay beside the one that a device connects with.

ALTER TABLE issuance ADD COLUMN kind TEXT NOT NULL DEFAULT 'device';
-- The signed attestation result that stands in the certificate in place of the evidence.
ALTER TABLE issuance ADD COLUMN result BYTEA;
-- The key identifier of the issuing key; empty where an earlier release did not keep it: it had one.
ALTER TABLE life ADD COLUMN issuer TEXT NOT NULL DEFAULT '';
ALTER TABLE life ADD COLUMN beside BIGINT NOT NULL DEFAULT 0;

-- The rule is now: one open-ended life per chip and per unit, and one beside it.
DROP INDEX one_life_per_chip;
DROP INDEX one_life_per_unit;
CREATE UNIQUE INDEX one_life_per_chip ON life (chip, beside) WHERE dies_us IS NULL;
CREATE UNIQUE INDEX one_life_per_unit ON life (unit_serial, beside) WHERE dies_us IS NULL;

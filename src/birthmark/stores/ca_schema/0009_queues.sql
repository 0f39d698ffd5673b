-- Rigs that have asked for a nonce's unit while another one had it: a JSON array of holders in their order, or nothing.

ALTER TABLE nonce ADD COLUMN waiting TEXT NOT NULL DEFAULT '';

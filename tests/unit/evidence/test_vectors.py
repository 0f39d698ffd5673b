# SPDX-License-Identifier: Apache-2.0
"""Bundles recorded once: what is in certificates in the field must stay readable, whatever we change."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from birthmark.evidence.appraisal import appraise
from birthmark.evidence.endorsements import EndorsementsFile, MakerEntry, ModelEntry, build
from birthmark.evidence.verdict import require

VECTORS = Path(__file__).parents[2] / "vectors" / "evidence"


@pytest.mark.parametrize("name", ["tpm-certify-swtpm", "pkix-evidence"])
def test_a_recorded_bundle_is_read_as_on_its_first_day(name: str) -> None:
    vector = json.loads((VECTORS / f"{name}.json").read_text())
    model = ModelEntry(
        id=vector["model"],
        hw_type=vector["hw_type"],
        maker="maker",
        certification="none",
        statement_types=(vector["statement_type"],),
    )
    file = EndorsementsFile(maker=(MakerEntry(name="maker", trust="trust"),), model=(model,))
    endorsements = build(file, {"trust": vector["maker_trust_pem"].encode()})
    bundle, spki = bytes.fromhex(vector["bundle"]), bytes.fromhex(vector["spki"])
    attested = require(appraise(bundle, spki, endorsements, datetime.fromisoformat(vector["at"])))
    found = {
        "nonce": attested.nonce.hex(),
        "chip_serial": attested.chip.serial,
        "firmware": attested.chip.firmware,
        "ak_fingerprint": attested.ak_fingerprint,
    }
    assert found == vector["expected"]

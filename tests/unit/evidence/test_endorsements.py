# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.core.config import parse
from birthmark.core.errors import ConfigError
from birthmark.core.registry import TCG_ATTEST_TPM_CERTIFY
from birthmark.evidence.endorsements import Endorsements, EndorsementsFile, build
from birthmark.testing.forge import APDU, TPM, ChipMaker

MOMENT = datetime(2026, 11, 23, tzinfo=UTC)
A, B = ChipMaker.at(MOMENT, "Maker A"), ChipMaker.at(MOMENT, "Maker B")
PEM = {"a.pem": A.trust_pem, "b.pem": B.trust_pem, "empty.pem": b""}
PEM["leaf-only.pem"] = A.ak_ca.certificate.public_bytes(Encoding.PEM)

MAKERS = """
[[maker]]
name = "Maker A"
trust = "a.pem"

[[maker]]
name = "Maker B"
trust = "b.pem"
"""
MODEL_A = f"""
[[model]]
id = "optiga-trust-m"
hw_type = "{APDU.hw_type.dotted_string}"
maker = "Maker A"
certification = "CC EAL6+"
statement_types = ["{APDU.statement_type.dotted_string}"]
denied_firmware = ["1.0.0"]
"""
MODEL_B = f"""
[[model]]
id = "swtpm"
hw_type = "{TPM.hw_type.dotted_string}"
maker = "Maker B"
certification = "none"
statement_types = ["{TPM.statement_type.dotted_string}"]
withdrawn = 2027-01-01T00:00:00Z
"""


def endorsements(text: str) -> Endorsements:
    return build(parse(EndorsementsFile, text, "endorsements.toml"), PEM)


def test_a_file_becomes_makers_models_and_denials() -> None:
    made = endorsements(f'denied_aks = ["{"0a" * 32}"]' + MAKERS + MODEL_A + MODEL_B)
    assert made.maker_of_root == {A.root.certificate: "Maker A", B.root.certificate: "Maker B"}
    assert made.trust.intermediates == (A.ak_ca.certificate, B.ak_ca.certificate)
    assert made.denied_aks == {"0a" * 32}
    tpm = made.models[1]
    assert (tpm.id, tpm.statement_types) == ("swtpm", (TCG_ATTEST_TPM_CERTIFY,))
    assert tpm.is_withdrawn(datetime(2027, 1, 1, tzinfo=UTC))
    assert not tpm.is_withdrawn(datetime(2026, 12, 31, tzinfo=UTC))
    assert not made.models[0].is_withdrawn(datetime(2050, 1, 1, tzinfo=UTC))


def test_a_model_is_found_under_its_own_maker_only() -> None:
    made = endorsements(MAKERS + MODEL_A + MODEL_B)
    assert made.model("Maker A", APDU.hw_type, None) is made.models[0]
    assert made.model("Maker B", APDU.hw_type, None) is None
    assert made.model("Maker B", TPM.hw_type, "swtpm") is made.models[1]
    assert made.model("Maker B", TPM.hw_type, "slb9670") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (MODEL_A, "maker"),
        ("maker = []\nmodel = []", "there must be makers"),
        (MAKERS, "model"),
        (MAKERS + MODEL_A + "\ncolour = 1", "colour"),
        (MAKERS.replace("Maker B", "Maker A") + MODEL_A, "each named once"),
        (MAKERS.replace("b.pem", "a.pem") + MODEL_A, "the same root"),
        (MAKERS.replace("b.pem", "c.pem") + MODEL_A, "no c.pem"),
        (MAKERS.replace("b.pem", "empty.pem") + MODEL_A, r"empty\.pem"),
        (MAKERS.replace("b.pem", "leaf-only.pem") + MODEL_A, r"leaf-only\.pem"),
        (MAKERS + MODEL_A + MODEL_A, "stands there twice"),
        (MAKERS + MODEL_A.replace("Maker A", "Maker C"), "Maker C"),
        (MAKERS + MODEL_A.replace(APDU.hw_type.dotted_string, "one.two"), "not an object identifier"),
        (MAKERS + MODEL_A.replace(APDU.statement_type.dotted_string, "2.23.133.20.2"), "nobody reads"),
        (MAKERS + MODEL_B.replace("00Z", "00"), "withdrawn"),
        ('denied_aks = ["0A"]' + MAKERS + MODEL_A, "denied_aks"),
    ],
)
def test_a_file_that_cannot_be_meant_is_one_clear_error(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        endorsements(text)

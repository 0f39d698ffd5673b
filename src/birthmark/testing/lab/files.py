# SPDX-License-Identifier: Apache-2.0
"""Writes the lab's configuration files: the same files that a real deployment would have reviewed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.x509 import ObjectIdentifier

from birthmark.core.registry import CHIP_MODEL_ARC, PKIX_EVIDENCE, TCG_ATTEST_TPM_CERTIFY, TCG_HW_TYPE_TPM20
from birthmark.silicon.simulator.models import NEXT_GENERATION
from birthmark.testing.lab.ceremony import MAKER, ORGANIZATION
from birthmark.testing.lab.record import FIRST_UNIT, LAST_UNIT, ORDER, PRODUCT, RIGS, UNIT_SERIALS, Board

APDU_MODELS = {"optiga-trust-m": 1, "se050": 2, "slb9670": 3, NEXT_GENERATION: 4}
TPM_MODEL = "swtpm"
DELIVERED_MODEL, WITHDRAWN_MODEL = "se-by-the-piece", "se-of-2019"
"""Two models that no board of a lab has: of one, a manifest lists the chips; of the other, the endorsement ended."""
_ATTACKED = {DELIVERED_MODEL: 901, WITHDRAWN_MODEL: 902}
CHIP_MODELS = (*APDU_MODELS, TPM_MODEL, *_ATTACKED)
MANIFEST = "delivered.txt"
MANIFEST_TEXT = "# Chips that Example Silicon has delivered\n0123456789ABCDEF\n"
LOG_ORIGIN = "example.com/lab-ca"
_LEGACY_SUNSET = "2028-12-31T00:00:00Z"


def apdu_hw_type(model: str) -> ObjectIdentifier:
    """Return the hardware type of a simulated APDU chip model."""
    return ObjectIdentifier(f"{CHIP_MODEL_ARC}.{(APDU_MODELS | _ATTACKED)[model]}")


def endorsements_toml() -> str:
    """Return the endorsements: one simulated maker and the models that it makes."""
    models = [_model(model, apdu_hw_type(model).dotted_string, PKIX_EVIDENCE.dotted_string) for model in APDU_MODELS]
    models.append(_model(TPM_MODEL, TCG_HW_TYPE_TPM20.dotted_string, TCG_ATTEST_TPM_CERTIFY.dotted_string))
    return f'[[maker]]\nname = "{MAKER}"\ntrust = "pki/chipmaker.pem"\n\n' + "\n".join(models)


def lab_endorsements_toml(lost_ak_ca: str) -> str:
    """Return the endorsements of a running lab, with what the attacks on them need. `lost_ak_ca` is a fingerprint."""
    piece, old = (_model(model, apdu_hw_type(model).dotted_string, PKIX_EVIDENCE.dotted_string) for model in _ATTACKED)
    return f"""denied_ak_cas = ["{lost_ak_ca}"]

{endorsements_toml()}
{piece}
{old}withdrawn = 2024-12-31T00:00:00Z

[[delivery]]
maker = "{MAKER}"
model = "{DELIVERED_MODEL}"
file = "{MANIFEST}"
sha256 = "{hashlib.sha256(MANIFEST_TEXT.encode()).hexdigest()}"
"""


@dataclass(frozen=True, slots=True)
class Order:
    """A production order of the lab. The window runs `opens_days` before now to `closes_days` after it."""

    name: str
    rigs: tuple[str, ...] = RIGS
    quantity: int = 200
    opens_days: int = -1
    closes_days: int = 30
    profile: str = "device-p256"

    def toml(self, at: datetime) -> str:
        """Return the order as the file that product security would review."""
        return f"""id = "{self.name}"
product = "{PRODUCT}"
quantity = {self.quantity}
chip_models = {_array(CHIP_MODELS)}
rigs = {_array(self.rigs)}
first_unit = "{FIRST_UNIT}"
last_unit = "{LAST_UNIT}"
not_before = {_moment(at + timedelta(days=self.opens_days))}
not_after = {_moment(at + timedelta(days=self.closes_days))}
profile = "{self.profile}"
"""


ORDER_OF_ONE = Order("order-of-one", quantity=1)
ORDER_OF_THE_OTHER_RIG = Order("order-of-rig-b", rigs=RIGS[1:])
ORDER_PAST = Order("order-past", opens_days=-60, closes_days=-30)
ORDER_OF_2016 = Order("order-2016", profile="device-2016")
ORDER_OF_STRONG_KEYS = Order("order-p384", profile="device-p384")
ORDERS = (Order(ORDER), ORDER_OF_ONE, ORDER_OF_THE_OTHER_RIG, ORDER_PAST, ORDER_OF_2016, ORDER_OF_STRONG_KEYS)
"""The order of the panel, and five that the attacks try to stretch."""


def ca_toml(hsm_module: str | None) -> str:
    """Return ca.toml; with a module, the issuing key is in its PKCS#11 token."""
    return f"""host = "127.0.0.1"
port = 0
database = "data/ca.sqlite"
units_database = "data/ca-units.sqlite"
tls_certificate = "pki/ca-server.pem"
tls_key = "pki/ca-server.key"
client_trust = "pki/trust.pem"
ca_chain = "pki/ca-chain.pem"
issuing_certificate = "pki/issuing.pem"
endorsements = "endorsements.toml"
organization = "{ORGANIZATION}"
nonce_expiry_s = 8

issuing_key = {_ca_key("issuing", hsm_module)}

[log]
origin = "{LOG_ORIGIN}"
key = {_ca_key("ledger", hsm_module)}

[ocsp]
certificate = "pki/ocsp.pem"
key = {_ca_key("ocsp", hsm_module)}

[rigs]
certificate = "pki/rigs.pem"
key = {_ca_key("rigs", hsm_module)}

[[profile]]
name = "device-p256"
algorithms = ["P-256"]
validity_days = 1825
last_issue = 2035-12-31

[[profile]]
name = "device-p384"
algorithms = ["P-384", "P-256"]
validity_days = 1825
last_issue = 2035-12-31
max_bytes = 4096

[[profile]]
name = "device-2016"
algorithms = ["P-256"]
validity_days = 3650
last_issue = 2020-12-31
"""


NEXT_ISSUER = "next"


def next_issuer_toml() -> str:
    """Return what is added to ca.toml where a second ceremony has made the next issuing CA. No profile names it yet."""
    return f"""
[[issuer]]
name = "{NEXT_ISSUER}"
certificate = "pki/next-issuing.pem"
chain = "pki/next-ca-chain.pem"
key = {_ca_key("next-issuing", None)}
"""


def _ca_key(name: str, hsm_module: str | None) -> str:
    if hsm_module:
        where = f'module = "{hsm_module}", token = "birthmark-lab", label = "{name}", pin_file = "hsm/pin"'
        return f'{{ kind = "pkcs11", {where} }}'
    return f'{{ kind = "software", file = "pki/{name}.key", passphrase_file = "pki/{name}.passphrase" }}'


def cloud_toml(ca_url: str) -> str:
    """Return cloud.toml; the CRL comes from the CA."""
    return f"""host = "127.0.0.1"
port = 0
database = "data/cloud.sqlite"
tls_certificate = "pki/cloud-server.pem"
tls_key = "pki/cloud-server.key"
device_trust = "pki/device-trust.pem"
legacy_trust = "pki/legacy.pem"
legacy_sunset = {_LEGACY_SUNSET}
new_line_serials = '{UNIT_SERIALS}'
endorsements = "endorsements.toml"
crl_url = "{ca_url}/v1/crl"
crl_trust = "pki/trust.pem"
crl_refresh_s = 0.5
feed_url = "{ca_url}/v1/revocations"
feed_certificate = "pki/cloud-feed.pem"
feed_key = "pki/cloud-feed.key"
"""


RECIPE_TOML = f"""product = "{PRODUCT}"
order = "{ORDER}"
takt_s = 2.0

[[retry]]
finding = "chip.communication"
times = 1
"""


OPERATOR, LEAD, LEAD_PIN = "ada", "grace", "246810"
"""Who works at a lab's rigs: their badges say BM:OP:ada and BM:OP:grace. The PIN is known to the whole world."""
PEOPLE_TOML = f"""
[[people]]
badge = "{OPERATOR}"
role = "operator"

[[people]]
badge = "{LEAD}"
role = "lead"
pin = "scrypt-15-8-1$ZXhhbXBsZSBvZiBhIGxhYg$vqxdutj9khG8RZkpJxRfjYxgz3JTwsXTIFpt34_IlZs"
"""


def rig_toml(rig: str, ca_url: str, chips: Sequence[str], *, with_next: bool = False) -> str:
    """Return the rig.toml of one rig with these chips in its fixture, and the roots of the next hierarchy, if any."""
    more = 'device_trust = "pki/next-device-trust.pem"\n' if with_next else ""
    fixture = PEOPLE_TOML + "".join(f'\n[[fixture]]\nchip = "{chip}"\n' for chip in chips)
    return f"""rig = "{rig}"
operator = "lab"
recipe = "recipe.toml"
ca_url = "{ca_url}"
trust = "pki/trust.pem"
certificate = "pki/{rig}.pem"
key = "pki/{rig}.key"
database = "data/{rig}.sqlite"
units_database = "data/units.sqlite"
lease_s = 2.0
endorsements = "endorsements.toml"
mes_file = "mes/births.jsonl"
{more}{fixture}"""


def device_toml(unit: str, chip: str, ca_url: str, cloud_url: str, *, with_next: bool = False) -> str:
    """Return the device.toml of one board's field agent, which lies in `devices/`; as `rig_toml`."""
    more = 'device_trust = "../pki/next-device-trust.pem"\n' if with_next else ""
    return f"""unit = "{unit}"
product = "{PRODUCT}"
chip = "{chip}"
ca_url = "{ca_url}"
cloud_url = "{cloud_url}"
trust = "../pki/trust.pem"
issuing = "../pki/issuing.pem"
{more}"""


def panel_toml(boards: tuple[Board, ...]) -> str:
    """Return a panel with one position per board."""
    return "\n".join(f'[[position]]\nunit = "{board.unit}"\nchip = "{board.chip}"\n' for board in boards)


def write(path: Path, text: str) -> Path:
    """Write a configuration file and return its path."""
    path.write_text(text)
    return path


def _model(name: str, hw_type: str, statement_type: str) -> str:
    return f"""[[model]]
id = "{name}"
hw_type = "{hw_type}"
maker = "{MAKER}"
certification = "none: simulated chip, not certified"
statement_types = ["{statement_type}"]
"""


def _array(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")

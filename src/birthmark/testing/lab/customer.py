# SPDX-License-Identifier: Apache-2.0
"""
Holds the lab's key ceremony for the customer's PKI: the program that a plant uses, with a file that is written here.

Root, cold spare and operations CA are kept in `offline/`, the keys that the CA serves with in `pki/` or in the token.
"""

from datetime import datetime
from pathlib import Path

import msgspec

from birthmark.ca.ceremony.plan import digest
from birthmark.ca.ceremony.reviewed import read_plan, run_reviewed
from birthmark.ca.ceremony.software import versions
from birthmark.core.clock import system_clock
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import OCSP_DAYS, ROOT_DAYS, SUB_CA_DAYS
from birthmark.testing.lab import softhsm
from birthmark.testing.lab.ceremony import ORGANIZATION

OCSP_KEY = "ocsp"
RIGS_KEY = "rigs"


def hold_customer_ceremony(directory: Path, at: datetime, *, hsm: bool) -> None:
    """
    Make the customer's roots, CAs and the log's key; certificates go to `pki/` and `offline/`.

    Raises:
        CeremonyRefused, KeyStoreError, LabError: as the ceremony and the token do.

    """
    for name in ("offline/spare", "pki"):
        (directory / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    if hsm:
        softhsm.make_token(directory)
    path = directory / "ceremony.toml"
    path.write_text(_ceremony_toml(at, hsm=hsm))
    run_reviewed(path, digest(read_plan(path)), system_clock, versions(), _say_nothing)


def hold_next_ceremony(directory: Path, at: datetime, algorithm: KeyAlgorithm) -> None:
    """
    Make a second hierarchy for devices, with keys of this type in software: a root, its spare and an issuing CA.

    Beside the first one, not under it: TLS must be able to verify the operations CA, and no root may be weaker than
    what hangs under it. `pki/next-issuing.*`, `pki/next-ca-chain.pem` and `pki/next-device-trust.pem` are for ca.toml
    and cloud.toml.

    Raises:
        CeremonyRefused, KeyStoreError: as the ceremony does.

    """
    for name in ("offline/spare", "pki"):
        (directory / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / "next-ceremony.toml"
    path.write_text(_next_ceremony_toml(at, algorithm))
    run_reviewed(path, digest(read_plan(path)), system_clock, versions(), _say_nothing)


def _say_nothing(_: str) -> None:
    """Take no notice of an act: the lab's own output is what people look at."""


def _ceremony_toml(at: datetime, *, hsm: bool) -> str:
    token = f"""
[[token]]
label = "{softhsm.TOKEN}"
module = "{softhsm.MODULE}"
pin_file = "hsm/pin"
"""
    return f"""{_head("A lab's PKI", "ceremony", at)}{token if hsm else ""}
{_root("root", "Device Root", "active", "offline/root")}
{_root("spare-root", "Device Root (spare)", "spare", "offline/spare/root")}
{_ca("issuing", "Device Issuing CA", _daily(softhsm.KEY, hsm=hsm))}
{_ca("operations", "Operations CA", _software("offline/operations"))}
{_ca("rigs", "Rigs CA", _daily(RIGS_KEY, hsm=hsm))}
[[signer]]
id = "ledger"
use = "ledger"
algorithm = "Ed25519"
key = {_daily(softhsm.LOG_KEY, hsm=hsm)}

[[signer]]
id = "ocsp"
name = "Device OCSP Responder"
use = "ocsp"
issuer = "issuing"
algorithm = "P-256"
validity_days = {OCSP_DAYS}
key = {_daily(OCSP_KEY, hsm=hsm)}

[[rollover]]
old = "root"
new = "spare-root"
{_bundles(_FIRST_BUNDLES)}"""


def _next_ceremony_toml(at: datetime, algorithm: KeyAlgorithm) -> str:
    named = algorithm.value
    return f"""{_head("A lab's next PKI for devices", "next-ceremony", at)}
{_root("root", f"Device Root ({named})", "active", "offline/next-root", algorithm)}
{_root("spare-root", f"Device Root (spare, {named})", "spare", "offline/spare/next-root", algorithm)}
{_ca("issuing", f"Device Issuing CA ({named})", _software("pki/next-issuing"), algorithm)}
{_bundles(_NEXT_BUNDLES)}"""


def _head(title: str, folder: str, at: datetime) -> str:
    return f"""title = "{title}"
organization = "{ORGANIZATION}"
begins = {at.replace(microsecond=0).isoformat()}
folder = "{folder}"

[[participant]]
name = "birthmark lab"
role = "administrator"

[[participant]]
name = "whoever reads this"
role = "witness"
"""


def _root(name: str, title: str, standing: str, file: str, algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> str:
    return f"""[[root]]
id = "{name}"
name = "{title}"
standing = "{standing}"
algorithm = "{algorithm.value}"
validity_days = {ROOT_DAYS}
key = {_software(file)}
"""


def _ca(use: str, title: str, key: str, algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> str:
    return f"""[[ca]]
id = "{use}"
name = "{title}"
use = "{use}"
issuer = "root"
algorithm = "{algorithm.value}"
validity_days = {SUB_CA_DAYS}
key = {key}
"""


_FIRST_BUNDLES = {
    "pki/trust.pem": ("root", "issuing", "operations"),
    "pki/ca-chain.pem": ("issuing", "root"),
    "pki/issuing.pem": ("issuing",),
    "pki/device-trust.pem": ("root", "issuing"),
    "pki/ocsp.pem": ("ocsp",),
    "pki/rigs.pem": ("rigs",),
    "offline/root.pem": ("root",),
    "offline/operations.pem": ("operations",),
}
_NEXT_BUNDLES = {
    "pki/next-ca-chain.pem": ("issuing", "root"),
    "pki/next-issuing.pem": ("issuing",),
    "pki/next-device-trust.pem": ("root", "issuing"),
}


def _bundles(files: dict[str, tuple[str, ...]]) -> str:
    return "".join(
        f'\n[[bundle]]\nfile = "{file}"\ncertificates = {msgspec.json.encode(certificates).decode()}\n'
        for file, certificates in files.items()
    )


def _daily(label: str, *, hsm: bool) -> str:
    token = f'{{ kind = "pkcs11", token = "{softhsm.TOKEN}", label = "{label}" }}'
    return token if hsm else _software(f"pki/{label}")


def _software(path: str) -> str:
    return f'{{ kind = "software", file = "{path}.key", passphrase_files = ["{path}.passphrase"] }}'

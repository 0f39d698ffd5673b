# SPDX-License-Identifier: Apache-2.0
"""
The acts of a ceremony, in their order. Each looks for what it makes before it makes it, so each may be repeated.

An act never decides by itself whether what it finds is its own: the journal knows whether it was begun (`run`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from birthmark.ca.ceremony import certificates, files
from birthmark.ca.ceremony.errors import CeremonyChanged
from birthmark.ca.ceremony.file import FileKey, Place, TokenKey
from birthmark.ca.ceremony.journal import Facts
from birthmark.ca.ceremony.plan import (
    CERTIFICATE_SUFFIX,
    Plan,
    PlannedBundle,
    PlannedCertificate,
    PlannedKey,
    bare_keys,
    public_key_file,
)
from birthmark.ca.ceremony.workshop import Workshop
from birthmark.core.config import read_file
from birthmark.core.ids import fingerprint
from birthmark.pki.algorithms import SigningKey
from birthmark.pki.authorities import Authority
from birthmark.pki.paths import read_certificates


@dataclass(frozen=True, slots=True)
class Bench:
    """What the acts have made or found so far."""

    plan: Plan
    workshop: Workshop
    keys: dict[str, SigningKey] = field(default_factory=dict, repr=False)
    certificates: dict[str, x509.Certificate] = field(default_factory=dict)

    def authority(self, name: str) -> Authority:
        """Return a root or CA with its key."""
        return Authority(self.certificates[name], self.keys[name])


class Act(Protocol):
    """One thing that is made."""

    @property
    def name(self) -> str:
        """How journal and transcript call it; no two acts of a plan have the same."""

    def find(self, bench: Bench) -> Facts | None:
        """Return what there is to say of it if it is there, and put it on the bench; None if it is not."""

    def make(self, bench: Bench) -> Facts:
        """Make it, and put it on the bench. What an interrupted attempt has left is finished, not begun anew."""


def acts(plan: Plan) -> Iterator[Act]:
    """Return the acts of a plan: copies of what was there, passphrases, keys, certificates, bundles."""
    for present in plan.present:
        yield _CopyAct(present.id, f"{plan.folder}/{present.id}{CERTIFICATE_SUFFIX}")
    made = [key for key in plan.keys if not key.present]
    for key in made:
        if isinstance(key.place, FileKey):
            yield _PassphraseAct(key.id, key.place)
    for key in made:
        yield _KeyAct(key)
    for bare in bare_keys(plan):
        yield _PublicKeyAct(bare, f"{plan.folder}/{public_key_file(bare)}")
    for certificate in plan.certificates:
        yield _CertificateAct(certificate)
    for bundle in plan.bundles:
        yield _BundleAct(bundle)


@dataclass(frozen=True, slots=True)
class _CopyAct:
    """Puts the certificate of an earlier root or CA beside the new ones, for whoever verifies the transcript."""

    id: str
    file: str

    @property
    def name(self) -> str:
        return f"copy {self.id}"

    def find(self, bench: Bench) -> Facts | None:
        return _found(bench, self.file, self._content(bench))

    def make(self, bench: Bench) -> Facts:
        return _written(bench, self.file, self._content(bench))

    def _content(self, bench: Bench) -> bytes:
        return bench.certificates[self.id].public_bytes(Encoding.PEM)


@dataclass(frozen=True, slots=True)
class _PassphraseAct:
    """Draws the passphrase of a key file and hands out its parts."""

    key: str
    place: FileKey

    @property
    def name(self) -> str:
        return f"passphrase {self.key}"

    def find(self, bench: Bench) -> Facts | None:
        return {"parts": self.place.passphrase_files} if bench.workshop.find_passphrase(self.place) else None

    def make(self, bench: Bench) -> Facts:
        bench.workshop.make_passphrase(self.place)
        return {"parts": self.place.passphrase_files}


@dataclass(frozen=True, slots=True)
class _KeyAct:
    """Makes a key in its token or file."""

    planned: PlannedKey

    @property
    def name(self) -> str:
        return f"key {self.planned.id}"

    def find(self, bench: Bench) -> Facts | None:
        found = bench.workshop.find(self.planned)
        return None if found is None else self._facts(bench, found)

    def make(self, bench: Bench) -> Facts:
        return self._facts(bench, bench.workshop.make(self.planned))

    def _facts(self, bench: Bench, key: SigningKey) -> Facts:
        bench.keys[self.planned.id] = key
        return {
            "algorithm": self.planned.algorithm.value,
            "place": place_text(self.planned.place),
            "spki_sha256": fingerprint(_spki(key)),
            "attributes": bench.workshop.attributes(self.planned),
        }


@dataclass(frozen=True, slots=True)
class _PublicKeyAct:
    """Writes the public half of a key that has no certificate."""

    key: str
    file: str

    @property
    def name(self) -> str:
        return f"public-key {self.key}"

    def find(self, bench: Bench) -> Facts | None:
        return _found(bench, self.file, self._content(bench))

    def make(self, bench: Bench) -> Facts:
        return _written(bench, self.file, self._content(bench))

    def _content(self, bench: Bench) -> bytes:
        return bench.keys[self.key].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class _CertificateAct:
    """Makes a certificate and writes it."""

    planned: PlannedCertificate

    @property
    def name(self) -> str:
        return f"certificate {self.planned.id}"

    def find(self, bench: Bench) -> Facts | None:
        path = bench.workshop.path(self.planned.file)
        if not files.is_written(path):
            return None
        found = read_certificates(read_file(path), str(path))
        if len(found) != 1:
            raise CeremonyChanged(f"{path} holds {len(found)} certificates", finding="ceremony.certificate")
        return self._facts(bench, found[0])

    def make(self, bench: Bench) -> Facts:
        made = self._make(bench)
        facts = self._facts(bench, made)  # judged before it is written
        path = bench.workshop.path(self.planned.file)
        files.write_new(path, made.public_bytes(Encoding.PEM), files.PUBLIC_MODE)
        return facts

    def _make(self, bench: Bench) -> x509.Certificate:
        planned = self.planned
        match planned.profile:
            case "root":
                return certificates.make_root(planned, bench.plan.organization, bench.keys[planned.key])
            case "rollover":
                return certificates.make_cross(
                    planned, bench.authority(planned.issuer), bench.certificates[planned.key]
                )
            case _:
                return certificates.make_issued(planned, bench.authority(planned.issuer), bench.keys[planned.key])

    def _facts(self, bench: Bench, made: x509.Certificate) -> Facts:
        planned = self.planned
        issuer = None if planned.profile == "root" else bench.certificates[planned.issuer]
        certificates.require_planned(planned, made, bench.keys[planned.key].public_key(), issuer)
        bench.certificates[planned.id] = made
        return {
            "sha256": made.fingerprint(SHA256()).hex(),
            "serial": f"{made.serial_number:x}",
            "subject": planned.subject,
            "file": planned.file,
        }


@dataclass(frozen=True, slots=True)
class _BundleAct:
    """Writes several certificates into one file."""

    planned: PlannedBundle

    @property
    def name(self) -> str:
        return f"bundle {self.planned.file}"

    def find(self, bench: Bench) -> Facts | None:
        return _found(bench, self.planned.file, self._content(bench))

    def make(self, bench: Bench) -> Facts:
        return _written(bench, self.planned.file, self._content(bench))

    def _content(self, bench: Bench) -> bytes:
        return b"".join(bench.certificates[name].public_bytes(Encoding.PEM) for name in self.planned.certificates)


def place_text(place: Place) -> str:
    """Return where a key is, as people read it."""
    match place:
        case FileKey(file=file):
            return f"file {file}"
        case TokenKey(token=token, label=label):
            return f"token {token}, label {label}"


def _found(bench: Bench, file: str, content: bytes) -> Facts | None:
    path: Path = bench.workshop.path(file)
    if not files.is_written(path):
        return None
    if read_file(path) != content:
        raise CeremonyChanged(f"{path} is not what was written", finding="ceremony.changed")
    return {"file": file, "sha256": fingerprint(content)}


def _written(bench: Bench, file: str, content: bytes) -> Facts:
    files.write_new(bench.workshop.path(file), content, files.PUBLIC_MODE)
    return {"file": file, "sha256": fingerprint(content)}


def _spki(key: SigningKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

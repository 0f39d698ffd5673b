# SPDX-License-Identifier: Apache-2.0
"""
A rehearsal: the same ceremony with software keys in a directory of its own.

Every name in it says REHEARSAL, organizations too, so that nothing that it makes can be taken for the real thing. What
would be in a token or on a medium lies in the directory; roots of earlier ceremonies are played by stand-ins. Neither
tokens nor media are touched.
"""

import secrets
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.ceremony import files
from birthmark.ca.ceremony.errors import CeremonyRefused
from birthmark.ca.ceremony.file import CeremonyFile, FileKey, KeySection, Place, PresentSection, read_ceremony
from birthmark.ca.ceremony.plan import CERTIFICATE_SUFFIX, PresentCertificate, make_plan
from birthmark.ca.ceremony.present import read_present
from birthmark.ca.ceremony.rules import REHEARSAL
from birthmark.ca.ceremony.run import Outcome, Tell, hold
from birthmark.ca.ceremony.workshop import PASSPHRASE_PART_BYTES
from birthmark.core.clock import Clock
from birthmark.pki.algorithms import KeyAlgorithm, SigningKey
from birthmark.pki.authorities import BACKDATE, make_root, make_sub_ca
from birthmark.pki.keys import software as software_keys

FOLDER = "ceremony"


def rehearse(path: Path, directory: Path, clock: Clock, software: dict[str, str], tell: Tell) -> Outcome:
    """
    Rehearse the ceremony of a file in an empty or new directory. Raises as `run.hold`, and ConfigError.

    Raises:
        CeremonyRefused: `ceremony.folder`, the directory is not empty.

    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CeremonyRefused(f"{directory} is not an empty or new directory", finding="ceremony.folder")
    file = read_ceremony(path)
    originals = {one.id: one for one in make_plan(file, read_present(file, path.parent)).present}
    rehearsed = rehearsed_file(file)
    _make_directories(rehearsed, directory)
    stand_ins = {one.id: _stand_in(one, originals[one.id], directory) for one in rehearsed.present}
    return hold(make_plan(rehearsed, stand_ins, rehearsal=True), directory, clock, software, tell)


def rehearsed_file(file: CeremonyFile) -> CeremonyFile:
    """Return the file with every name marked, and every path and token replaced by one in the directory."""
    replace = msgspec.structs.replace
    return replace(
        file,
        title=_marked(file.title),
        organization=_marked(file.organization),
        folder=FOLDER,
        token=(),
        root=tuple(replace(one, name=_marked(one.name), key=_place(one.id, one.key)) for one in file.root),
        ca=tuple(replace(one, name=_marked(one.name), key=_place(one.id, one.key)) for one in file.ca),
        signer=tuple(
            replace(one, name=one.name and _marked(one.name), key=_place(one.id, one.key)) for one in file.signer
        ),
        present=tuple(
            replace(one, certificate=f"present/{one.id}{CERTIFICATE_SUFFIX}", key=_place(one.id, one.key))
            for one in file.present
        ),
        bundle=tuple(
            replace(one, file=f"bundles/{number}-{Path(one.file).name}")
            for number, one in enumerate(file.bundle, start=1)
        ),
    )


def _marked(name: str) -> str:
    return f"{REHEARSAL} {name}"


def _place(name: str, place: Place) -> FileKey:
    """Return a place in the directory: one folder for each key and one for each part of its passphrase."""
    parts = len(place.passphrase_files) if isinstance(place, FileKey) else 1
    passphrases = tuple(f"part-{number}/{name}.passphrase" for number in range(1, parts + 1))
    return FileKey(file=f"keys/{name}/{name}.key", passphrase_files=passphrases)


def _make_directories(file: CeremonyFile, directory: Path) -> None:
    sections: tuple[KeySection, ...] = (*file.present, *file.root, *file.ca, *file.signer)
    for section in sections:
        if isinstance(section.key, FileKey):
            for name in (section.key.file, *section.key.passphrase_files):
                (directory / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ("present", "bundles"):
        (directory / name).mkdir(exist_ok=True)


def _stand_in(section: PresentSection, original: PresentCertificate, directory: Path) -> x509.Certificate:
    """Make a root, or a CA under a root of its own, with name, dates and algorithm of the original."""
    certificate = _like(original, _stand_in_key(section.key, original.algorithm, directory))
    path = directory / section.certificate
    files.write_new(path, certificate.public_bytes(Encoding.PEM), files.PUBLIC_MODE)
    return certificate


def _stand_in_key(place: Place, algorithm: KeyAlgorithm, directory: Path) -> SigningKey:
    key = software_keys.generate(algorithm)
    if isinstance(place, FileKey):  # as it is for every place of a rehearsal
        parts = [secrets.token_hex(PASSPHRASE_PART_BYTES).encode() for _ in place.passphrase_files]
        for name, part in zip(place.passphrase_files, parts, strict=True):
            files.write_new(directory / name, part + b"\n", files.SECRET_MODE)
        software_keys.save_encrypted(directory / place.file, key, b"".join(parts))
    return key


def _like(original: PresentCertificate, key: SigningKey) -> x509.Certificate:
    at = original.not_before + BACKDATE
    days = (original.not_after - at).days
    organization, name = _marked(original.organization), _marked(original.name)
    if original.root:
        return make_root(organization, name, key, at, days).certificate
    above = make_root(organization, _marked("issuer"), software_keys.generate(original.algorithm), at, days)
    return make_sub_ca(above, name, key, at, days).certificate

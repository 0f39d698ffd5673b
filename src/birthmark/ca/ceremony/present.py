# SPDX-License-Identifier: Apache-2.0
"""Roots and CAs of earlier ceremonies: their certificates for the plan, their keys for the acts."""

from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from birthmark.ca.ceremony.acts import Bench
from birthmark.ca.ceremony.errors import CeremonyRefused
from birthmark.ca.ceremony.file import CeremonyFile
from birthmark.ca.ceremony.plan import PlannedKey
from birthmark.core.config import read_file
from birthmark.core.errors import ConfigError
from birthmark.pki.algorithms import acceptable_certificate, key_algorithm
from birthmark.pki.paths import read_certificates


def read_present(file: CeremonyFile, home: Path) -> dict[str, x509.Certificate]:
    """
    Return the certificates of the `[[present]]` sections by id.

    Raises:
        ConfigError: a file without exactly one certificate, or one that is no CA as we make them.
        AlgorithmRefused: a certificate with a weak key or signature.

    """
    return {section.id: _present(home / section.certificate) for section in file.present}


def put_present(bench: Bench) -> None:
    """
    Put the present roots and CAs on the bench, certificates and keys.

    Raises:
        CeremonyRefused: `ceremony.present-key`, a key is not there, or is not the certificate's.
        KeyStoreError: a token or a file does not give it.

    """
    for planned in bench.plan.keys:
        if planned.present:
            put_present_one(bench, planned)


def put_present_one(bench: Bench, planned: PlannedKey) -> None:
    """Put one present root or CA on the bench. Raises as `put_present`."""
    file = next(present.file for present in bench.plan.present if present.id == planned.id)
    certificate, key = _present(bench.workshop.path(file)), bench.workshop.find(planned)
    if key is None:
        raise CeremonyRefused(f"the key of {planned.id!r} is not in its place", finding="ceremony.present-key")
    if key.public_key() != certificate.public_key():
        raise CeremonyRefused(f"the key of {planned.id!r} is not its certificate's", finding="ceremony.present-key")
    bench.certificates[planned.id], bench.keys[planned.id] = certificate, key


def _present(path: Path) -> x509.Certificate:
    found = read_certificates(read_file(path), str(path))
    if len(found) != 1:
        raise ConfigError(f"{path}: {len(found)} certificates", hint="name the root's or CA's alone")
    acceptable_certificate(found[0])
    key_algorithm(found[0].public_key())
    try:
        found[0].extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        constraints = found[0].extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound as error:
        raise ConfigError(f"{path}: {error}", hint="name the certificate of a root or CA") from error
    if not constraints.ca or not found[0].subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME):
        raise ConfigError(
            f"{path}: not the certificate of a CA of an organization", hint="name the certificate of a root or CA"
        )
    return found[0]

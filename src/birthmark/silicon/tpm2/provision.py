# SPDX-License-Identifier: Apache-2.0
"""
The chip maker's side: an attestation key, and its certificate where no owner can remove it.

This happens at the chip maker, or at the platform's maker while the platform hierarchy is still open. It stands apart
from the driver: a device never does it.
"""

from collections.abc import Callable

from tpm2_pytss.constants import ESYS_TR

from birthmark.silicon.errors import ChipCommunication
from birthmark.silicon.tpm2 import nvram
from birthmark.silicon.tpm2.connection import Connection
from birthmark.silicon.tpm2.layout import AK_CERTIFICATE_INDEX, AK_HANDLE, attestation_key
from birthmark.silicon.tpm2.structures import spki_of


def provision(tcti: str, issue: Callable[[bytes], bytes]) -> bytes:
    """
    Give the TPM its attestation key and the certificate that `issue` makes for it; return the certificate.

    `issue` takes the AK's DER SubjectPublicKeyInfo and returns a DER certificate. A TPM that has its certificate
    keeps it, and `issue` is not asked again: repeating is safe at any point.

    Raises:
        ChipError: the TPM is not there, or its platform hierarchy is closed.

    """
    connection = Connection(tcti)
    try:
        spki = _make_attestation_key(connection)
        finished = nvram.read_once_written(connection, AK_CERTIFICATE_INDEX)
        return _certify(connection, issue(spki)) if finished is None else finished
    finally:
        connection.close()


def read_ak_certificate(tcti: str) -> bytes | None:
    """Return the DER certificate of the TPM's attestation key, or None before it is provisioned."""
    connection = Connection(tcti)
    try:
        return nvram.read_once_written(connection, AK_CERTIFICATE_INDEX)
    finally:
        connection.close()


def _make_attestation_key(connection: Connection) -> bytes:
    # A primary key: its template and the endorsement seed make the same key again after an owner's TPM2_Clear.
    if not connection.exists(AK_HANDLE):
        with connection.primary(ESYS_TR.ENDORSEMENT, attestation_key()) as key:
            connection.persist(key, AK_HANDLE)
    with connection.opened(AK_HANDLE) as key:
        return spki_of(connection.public_area(key))


def _certify(connection: Connection, certificate: bytes) -> bytes:
    nvram.write_once(connection, AK_CERTIFICATE_INDEX, certificate)
    if nvram.read_once_written(connection, AK_CERTIFICATE_INDEX) != certificate:
        raise ChipCommunication("the AK certificate was written, and reads back as something else")
    return certificate

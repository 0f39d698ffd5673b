# SPDX-License-Identifier: Apache-2.0
"""What rigs that ask for certificates say, and what they hear."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

REQUEST_MAX_CHARACTERS: Final = 8_192

_Request = Annotated[str, msgspec.Meta(min_length=1, max_length=REQUEST_MAX_CHARACTERS, title="PKCS#10, PEM")]


class NewRig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ticket, and the request of the key that uses it."""

    ticket: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    request: _Request


class RigRenewal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The request of the rig's next key."""

    request: _Request


class RigCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """The rig's certificate, and the one of its CA (PEM)."""

    certificate: str


def certificate_view(chain: Sequence[x509.Certificate]) -> RigCertificate:
    """Return a certificate with its chain as it is told."""
    return RigCertificate(certificate="".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in chain))

# SPDX-License-Identifier: Apache-2.0
"""Who may not come to the authority any more: a key, a rig or a person, as a plain value and as one text."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from birthmark.core.errors import DecodeError

NAME_MAX: Final = 64
"""Of a common name (ub-common-name, RFC 5280 appendix A)."""
_KEY: Final = re.compile(r"[0-9a-f]{64}")


class ClientKind(Enum):
    """By what a client is denied. The value stands in documents, in the log and on command lines."""

    KEY = "key"
    """The SHA-256 of a key's SubjectPublicKeyInfo, in lower-case hexadecimal: whatever certificates it has."""
    RIG = "rig"
    """The common name of rigs' certificates, as orders name it: whatever keys it has."""
    PERSON = "person"
    """The common name of officers' and followers' certificates, in every role and with every key."""


@dataclass(frozen=True, slots=True)
class DeniedClient:
    """Who is denied."""

    kind: ClientKind
    name: str

    def __str__(self) -> str:
        """Return the one text that `read_client` reads."""
        return f"{self.kind.value}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientDenial:
    """A decision of two persons that a client may not come any more."""

    client: DeniedClient
    reason: str
    since: datetime


def read_client(text: str) -> DeniedClient:
    """Return whom a text such as `rig:rig-a` names. Raises DecodeError (id.client)."""
    kind, colon, name = text.partition(":")
    kinds = {each.value: each for each in ClientKind}
    if not colon or kind not in kinds:
        wanted = ", ".join(f"{each}:..." for each in sorted(kinds))
        raise DecodeError(f"{text[:NAME_MAX]!r} names no client", hint=wanted, finding="id.client")
    client = DeniedClient(kinds[kind], name)
    if client.kind is ClientKind.KEY and _KEY.fullmatch(name) is None:
        hint = "the SHA-256 of its SubjectPublicKeyInfo, in lower-case hexadecimal"
        raise DecodeError(f"{name[:NAME_MAX]!r} names no key", hint=hint, finding="id.client")
    if not 1 <= len(name) <= NAME_MAX or not name.isprintable() or name != name.strip():
        raise DecodeError(f"not a common name of 1 to {NAME_MAX} characters", finding="id.client")
    return client

# SPDX-License-Identifier: Apache-2.0
"""
The ticket with which a rig gets its first certificate: 32 random bytes as text, which the CA knows by their SHA-256.

Whoever has the text can use it, once. It stands in no proposal, no log and no database.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final

from birthmark.core.errors import DecodeError

TICKET_BYTES: Final = 32
_TICKET: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RigTicket:
    """
    A ticket as the CA knows it.

    `proposal` is the id of what two persons have signed. `spki` is the SHA-256 of the key that has used it ("" while
    nobody has), and `certificate` (DER) what that key got.
    """

    digest: str
    proposal: str
    spki: str = ""
    certificate: bytes | None = None


def new_ticket() -> str:
    """Return the text of a ticket that nobody has seen."""
    return secrets.token_urlsafe(TICKET_BYTES)


def ticket_digest(text: str) -> str:
    """Return the SHA-256 of a ticket's text, in lower-case hexadecimal. Raises DecodeError, which does not show it."""
    if _TICKET.fullmatch(text) is None:
        raise DecodeError("not a rig's ticket", hint="43 letters, digits, hyphens and underscores", finding="id.ticket")
    return hashlib.sha256(text.encode("ascii")).hexdigest()

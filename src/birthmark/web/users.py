# SPDX-License-Identifier: Apache-2.0
"""
Whose programs and browsers a page of this machine answers: those of users that its configuration names.

Loopback is open to every user of a machine. The kernel says whose socket the other end of a connection is, so nobody
needs a password for it, and no secret lies about: a browser, curl and LabVIEW are let in or refused by whose they are.
Through an SSH tunnel it is the user who logged in.
"""

import os
import pwd
from collections.abc import Iterable
from typing import Final

from starlette.responses import JSONResponse

from birthmark.core.errors import ConfigError
from birthmark.net.asgi import ASGIApp, Receive, Scope, Send, neighbour

ROOT: Final = 0
"""May read and change all of this machine anyway."""


def uids(names: Iterable[str]) -> frozenset[int]:
    """Return the ids of these users, of this process's own and of root. Raises ConfigError: no such user."""
    return frozenset({os.geteuid(), ROOT, *map(_uid, names)})


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # ValueError: a zero byte in the name
        raise ConfigError(
            f"station_users: this machine has no user {name!r}", hint="name users as getent passwd does"
        ) from None


class UsersOnly:
    """Refuses every connection of another user with 403, whatever is asked."""

    def __init__(self, app: ASGIApp, users: frozenset[int]) -> None:
        self._app = app
        self._users = users

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        uid = neighbour(scope)
        if scope["type"] != "http" or uid in self._users:
            await self._app(scope, receive, send)
            return
        who = "nobody knows whose connection this is" if uid is None else f"this is not for user {uid}"
        told = {"finding": "line.station.user", "message": who, "hint": "rig.toml names them: station_users"}
        await JSONResponse(told, 403)(scope, receive, send)

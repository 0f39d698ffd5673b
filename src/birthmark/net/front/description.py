# SPDX-License-Identifier: Apache-2.0
"""What a TLS front is wanted for, in our own words."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from birthmark.net.descriptors import allowed

WORKERS_MAX: Final = 64
MAX_CONNECTIONS: Final = 16_384
"""
Connections from outside; those beyond are closed as they come. One costs Envoy 12 kB, a worker nothing. Fewer where the
system gives fewer descriptors (`connections`).
"""
DESCRIPTORS_KEPT: Final = 512
"""Of Envoy's, for its own files."""
HANDSHAKE_TIME_S: Final = 10
BODY_MAX_BYTES: Final = 262_144
"""Of any request; services have lower limits of their own, with answers that say more."""
ANSWER_TIME_S: Final = 60
"""From the end of a request to the end of its answer."""
WAITING_MAX: Final = 1_024
"""Requests per worker that are under way or wait; more are answered with 503 and Retry-After."""
WORKER_CONNECTIONS_MAX: Final = 256
UPSTREAM_KEEP_ALIVE_S: Final = 10
"""Shorter than a worker's, so that no request meets a connection that its worker is about to close."""
DESCRIPTORS_MAX: Final = MAX_CONNECTIONS + WORKERS_MAX * WORKER_CONNECTIONS_MAX + DESCRIPTORS_KEPT
"""What Envoy may ever need."""
LEAVE_TIME_S: Final = ANSWER_TIME_S + UPSTREAM_KEEP_ALIVE_S + 5
"""A worker that makes room for another one has answered everything by then, and lost its last connection."""


@dataclass(frozen=True, slots=True)
class FrontDescription:
    """
    One TLS front.

    Attributes:
        host: the IP address to listen on.
        port: the port, or 0 for any free one.
        certificate: PEM file with the server's certificate and its chain.
        key: PEM file with its key.
        client_trust: PEM file with what client certificates must chain to. A client without one is nobody.
        workers: how many processes serve behind it.
        repeatable: paths, and what lies below them, whose requests may be sent once more when a worker dies.

    """

    host: str
    port: int
    certificate: Path
    key: Path
    client_trust: Path
    workers: int = 1
    repeatable: tuple[str, ...] = ()

    def reaches(self, other: "FrontDescription") -> bool:
        """Say whether a running front of this description can become one of the other: only the files may differ."""
        mine = replace(other, certificate=self.certificate, key=self.key, client_trust=self.client_trust)
        return mine == self


def connections(workers: int) -> int:
    """Return how many connections from outside Envoy may hold: it ends when it runs out of descriptors."""
    kept = DESCRIPTORS_KEPT + workers * WORKER_CONNECTIONS_MAX
    return max(1, min(MAX_CONNECTIONS, allowed(MAX_CONNECTIONS + kept) - kept))

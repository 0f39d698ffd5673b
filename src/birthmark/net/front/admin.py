# SPDX-License-Identifier: Apache-2.0
"""Envoy's administration interface, on a Unix socket that only we can open."""

import http.client
import json
import socket
import time
from pathlib import Path
from typing import Final, NamedTuple

from birthmark.net.errors import FrontFailed
from birthmark.net.front.envoy import SECRETS, STATISTICS_PREFIX

ANSWER_TIME_S: Final = 5.0
POLL_S: Final = 0.02
_ACTIVE: Final = f"http.{STATISTICS_PREFIX}.downstream_rq_active"
_SECRETS: Final = "/stats?format=json&filter=^sds[.][a-z]%2B[.]update_(attempt|rejected)$"


class Secrets(NamedTuple):
    """How often both of the front's certificate files were read since Envoy began, and how often one was refused."""

    read: int
    refused: int


class Admin:
    """What the supervisor asks Envoy."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_ready(self) -> bool:
        """Say whether Envoy serves; False also while it does not even answer."""
        try:
            status, _ = self._ask("GET", "/ready")
        except OSError:
            return False
        return status == http.HTTPStatus.OK

    def port(self) -> int:
        """Return the port that Envoy listens on. Raises FrontFailed."""
        try:
            _, body = self._ask("GET", "/listeners?format=json")
            (listener,) = json.loads(body)["listener_statuses"]
            return int(listener["local_address"]["socket_address"]["port_value"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FrontFailed("Envoy does not say where it listens") from error

    def secrets(self) -> Secrets:
        """Return how often Envoy has read the certificates, and how often it did not take them. Raises OSError."""
        _, body = self._ask("GET", _SECRETS)
        try:
            said = {each["name"]: int(each["value"]) for each in json.loads(body)["stats"]}
            read = min(said[f"sds.{name}.update_attempt"] for name in SECRETS)
            return Secrets(read, sum(said[f"sds.{name}.update_rejected"] for name in SECRETS))
        except (ValueError, KeyError, TypeError) as error:
            raise OSError("Envoy does not say which certificates it has") from error

    def drain(self, deadline: float) -> None:
        """Take no new connections; return when no request runs any more, at the deadline at the latest."""
        try:
            self._ask("POST", "/drain_listeners")
            while self._running_requests() and time.monotonic() < deadline:
                time.sleep(POLL_S)
        except OSError:
            return  # it has ended by itself

    def _running_requests(self) -> int:
        _, body = self._ask("GET", f"/stats?filter=^{_ACTIVE}$")
        return int(body.rpartition(b":")[2] or 0)

    def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        connection = _LocalConnection(self._path)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise OSError("Envoy's administration does not answer in HTTP") from error
        finally:
            connection.close()


class _LocalConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_TIME_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

# SPDX-License-Identifier: Apache-2.0
"""
A rig's station as a program sees it: panels are run by its REST interface (docs/reference/line-station.md).

The program may be killed, or its answers lost, at any moment: the boards are the station's, which goes on without it.
"""

import time
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError

from birthmark.frameworks.errors import RigTrouble, StationAway, StationRefused
from birthmark.line.results import PanelResult, PanelState, PlaceResult

CALL_S: Final = 10.0
"""One call waits so long for a panel; then it is asked for again."""
ANSWER_S: Final = 10.0
"""What an answer may take beyond that."""
TRIES: Final = 4
TRIES_ONCE_HEARD: Final = 60
"""Of a station that was there when it was asked first: it is being started anew."""
RETRY_S: Final = 0.5
_SCHEME: Final = "http://"
_OK: Final = frozenset({200, 202})
_JSON: Final = {"content-type": "application/json"}


def new_key() -> str:
    """Return a key that no other panel has."""
    return uuid4().hex


def demand_a_verdict(panel: PanelResult, *places: PlaceResult) -> None:
    """
    Pass places of a panel whose verdicts say something about their boards, passed or not.

    Raises:
        RigTrouble: one of them says nothing: the panel stopped, or something else than the board was the cause.

    """
    for place in places:
        if not (place.passed or place.skipped or place.to_blame):
            finding, reason = (place.finding, place.reason) if place.verdict else (panel.finding, panel.reason)
            raise RigTrouble(f"place {place.position}, {place.unit}: {finding}: {reason}", finding=finding)


class _Refusal(msgspec.Struct, frozen=True):
    finding: str
    message: str
    hint: str


class StationClient:
    """One station, by the address that it printed. Safe to use from many threads."""

    def __init__(self, url: str) -> None:
        if not url.startswith(_SCHEME):
            raise StationAway(f"{url!r} is no address of a station", hint=f"as it printed it: {_SCHEME}127.0.0.1:PORT")
        self._url = url.rstrip("/")
        self._http = urllib3.PoolManager(retries=False, timeout=CALL_S + ANSWER_S)
        self._heard = False

    def run(self, units: Sequence[str | None], operator: str = "", key: str = "") -> PanelResult:
        """
        Run a panel and return how it ended. `units` are in the order of the places, None for one that is left out.

        Without a `key` the call has one of its own, so that a lost answer is asked for again and nothing runs twice.

        Raises:
            StationRefused: nothing was begun.
            StationAway: no answer, several times; whether the panel runs is not known: ask again under the same key.

        """
        body = msgspec.json.encode({"key": key or new_key(), "units": list(units), "operator": operator})
        while True:
            result = self._read(self._posted(f"/v1/panels?wait_s={CALL_S:g}", body))
            if result.state is not PanelState.RUNNING:
                return result

    def _read(self, answer: bytes) -> PanelResult:
        try:
            return msgspec.json.decode(answer, type=PanelResult)
        except msgspec.MsgspecError as error:
            raise StationAway(f"{self._url} answers what no station does: {error}") from error

    def _posted(self, path: str, body: bytes) -> bytes:
        tried = 0
        while True:
            try:
                answer = self._http.request("POST", self._url + path, body=body, headers=_JSON)
                break
            except HTTPError as error:
                tried += 1
                self._heard |= not isinstance(error, NewConnectionError)
                if tried >= (TRIES_ONCE_HEARD if self._heard else TRIES):
                    raise StationAway(f"{self._url} does not answer") from error
                time.sleep(RETRY_S)
        self._heard = True
        if answer.status not in _OK:
            raise self._refused(answer.status, answer.data)
        return answer.data

    def _refused(self, status: int, data: bytes) -> StationRefused | StationAway:
        try:
            told = msgspec.json.decode(data, type=_Refusal)
        except msgspec.MsgspecError:
            return StationAway(f"{self._url} answers {status}")
        return StationRefused(told.message, hint=told.hint, finding=told.finding)

# SPDX-License-Identifier: Apache-2.0
"""How the cloud's answers are read."""

import pytest

from birthmark.device.errors import CloudAnswerUnreadable, CloudBusy, DeviceError, RefusedByCloud
from birthmark.device.links import HTTPCloudLink
from birthmark.device.ports import CommandTaken, Me
from birthmark.net.transport import Response


class Answers:
    """Stands where the transport stands and gives one answer to everything."""

    def __init__(self, status: int, body: bytes) -> None:
        self._answer = Response(status, {}, body)
        self.asked: list[str] = []

    def request(self, method: str, path: str, headers: object = None, body: bytes = b"") -> Response:
        del headers, body
        self.asked.append(f"{method} {path}")
        return self._answer

    def close(self) -> None:
        """Nothing is open."""


def link(status: int, body: bytes) -> HTTPCloudLink:
    return HTTPCloudLink(Answers(status, body), 10.0)  # type: ignore[arg-type] # the two methods that a link uses


@pytest.mark.parametrize(
    ("status", "body", "kind", "finding"),
    [
        (403, b"cloud.revoked: certificate 1f is revoked\n", RefusedByCloud, "cloud.revoked"),
        (503, b"cloud.revocation-unknown: no list yet\n", CloudBusy, "cloud.revocation-unknown"),
        (404, b"Not Found", RefusedByCloud, "device.refused"),
        (502, b"", CloudBusy, "device.cloud-busy"),
        (302, b"", CloudAnswerUnreadable, "device.cloud-answer"),
        (204, b"", CloudAnswerUnreadable, "device.cloud-answer"),
        (200, b"{}", CloudAnswerUnreadable, "device.cloud-answer"),
        (200, b"\xff", CloudAnswerUnreadable, "device.cloud-answer"),
    ],
)
def test_an_answer_that_is_no_yes_is(status: int, body: bytes, kind: type[DeviceError], finding: str) -> None:
    with pytest.raises(kind) as caught:
        link(status, body).me()
    assert caught.value.finding == finding


def test_what_the_cloud_adds_later_is_ignored() -> None:
    assert link(200, b'{"unit": "BM-000001", "rights": ["telemetry"], "more": 1}').me() == Me(
        "BM-000001", ("telemetry",)
    )


def test_no_command_is_none_and_a_command_is_read() -> None:
    assert link(204, b"").next_command("BM-000001", 0.0) is None
    found = link(200, b'{"id": 7, "name": "blink", "payload": {"times": 3}}').next_command("BM-000001", 0.0)
    assert found == CommandTaken(7, "blink", {"times": 3})


def test_a_wait_ends_before_our_own_time_out() -> None:
    answers = Answers(204, b"")
    HTTPCloudLink(answers, 10.0).next_command("BM-000001", 60.0)  # type: ignore[arg-type] # as above
    assert answers.asked == ["GET /v1/devices/BM-000001/commands?wait_s=5.0"]

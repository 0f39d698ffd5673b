# SPDX-License-Identifier: Apache-2.0
"""
A MES as an AMQP 1.0 endpoint of its own, without a broker: a program that listens and answers ValidateUnitsRequest.

It prints its port, and then each request. Every unit is cleared but those whose label is in its arguments.
"""

import json
import sys
import uuid
from typing import Any

import proton
from proton.handlers import MessagingHandler
from proton.reactor import Container


class MES(MessagingHandler):
    """Answers on the link from the address that it is asked at, as the SDK's endpoints do."""

    def __init__(self, refused: list[str]) -> None:
        super().__init__()
        self._refused = refused
        self._senders: dict[str, Any] = {}

    def on_start(self, event: Any) -> None:
        acceptor = event.container.listen("127.0.0.1:0")
        _say(acceptor._selectable._delegate.getsockname()[1])

    def on_link_opening(self, event: Any) -> None:
        link = event.link
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        if link.is_sender:
            self._senders[link.source.address] = link

    def on_message(self, event: Any) -> None:
        asked = event.message
        envelope = json.loads(bytes(asked.body))
        _say(envelope)
        answer = proton.Message(id=str(uuid.uuid4()), correlation_id=asked.correlation_id)
        answer.inferred = True
        answer.body = json.dumps(response(envelope, self._refused)).encode()
        self._senders[event.link.target.address].send(answer)


def response(envelope: dict[str, Any], refused: list[str]) -> dict[str, Any]:
    """Return the envelope of the answer to a request's."""
    results = [
        {
            "UniqueIdentifier": unit["UnitIdentifier"],
            "PositionNumber": unit["PositionNumber"],
            "Result": "Failed" if unit["UnitIdentifier"] in refused else "Passed",
            "FailureCode": 7 if unit["UnitIdentifier"] in refused else 0,
            "Message": "wrong route" if unit["UnitIdentifier"] in refused else "OK",
        }
        for unit in envelope["MessageBody"]["Units"]
    ]
    return {
        "MessageName": "CFX.InformationSystem.UnitValidation.ValidateUnitsResponse",
        "Version": "2.0",
        "TimeStamp": "2026-05-04T14:00:00.1234567+02:00",
        "UniqueID": str(uuid.uuid4()),
        "Source": "Acme.MES.1",
        "Target": envelope["Source"],
        "RequestID": envelope["RequestID"],
        "MessageBody": {
            "$type": "CFX.InformationSystem.UnitValidation.ValidateUnitsResponse, CFX",
            "Result": {"Result": "Success", "ResultCode": 0, "Message": None},
            "PrimaryResult": {"PositionNumber": 0, "Result": "Passed", "FailureCode": 0, "Message": "OK"},
            "Results": results,
        },
    }


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    Container(MES(sys.argv[1:])).run()

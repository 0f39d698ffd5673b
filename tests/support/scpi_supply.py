# SPDX-License-Identifier: Apache-2.0
"""
A simulated laboratory supply in a process of its own: SCPI on a TCP socket or a pseudo-terminal.

It follows SCPI 1999 for the few commands that it knows, with an error queue, and shares no code with the driver. A test
talks to it over standard input and output, one JSON line each way: it arms faults and looks at the outputs.

    python scpi_supply.py --tcp | --serial LINK
"""

import argparse
import json
import os
import pty
import socket
import sys
import threading
import time
import tty
from collections import deque
from collections.abc import Callable
from pathlib import Path

CHANNELS = (1, 2)
NOMINAL_V = 5.0
AMPERES = 0.25


class Supply:
    """The instrument. `fault` is what goes wrong until it is taken away; `only` limits it to one command."""

    def __init__(self) -> None:
        self.outputs = dict.fromkeys(CHANNELS, False)
        self.volts = NOMINAL_V
        self.errors: deque[str] = deque()
        self.fault, self.only = "", ""
        self.heard: list[str] = []
        self._selected = CHANNELS[0]

    def hear(self, line: str) -> bytes:
        """Return what the instrument sends for one line."""
        self.heard.append(line)
        answer = self._answered(line)
        struck = self.fault if not self.only or line.startswith(self.only) else ""
        if answer is None or struck == "silent":
            return b""
        return self._spoilt(answer, struck)

    def _spoilt(self, answer: str, struck: str) -> bytes:
        if struck.startswith("say:"):
            return struck.removeprefix("say:").encode("latin-1")
        if struck == "half":
            return answer.encode()[: len(answer) // 2]
        if struck == "twice":
            return (answer + "\n").encode() * 2
        return (answer + "\n").encode()

    def _answered(self, line: str) -> str | None:
        word, _, argument = line.partition(" ")
        if line == "SYST:ERR?":
            return self.errors.popleft() if self.errors else '0,"No error"'
        if self.fault == "refuse" and line.startswith(self.only):
            self.errors.append('-221,"Settings conflict;the ""OVP"" has tripped"')
        elif word == "INST:NSEL" and argument.isdecimal() and int(argument) in CHANNELS:
            self._selected = int(argument)
        elif word == "OUTP" and argument in {"ON", "OFF"}:
            if self.fault != "stuck":
                self.outputs[self._selected] = argument == "ON"
        elif line == "*CLS":
            self.errors.clear()
        else:
            return self._measured(line)
        return None

    def _measured(self, line: str) -> str | None:
        on = self.outputs[self._selected]
        answers = {
            "*IDN?": "Example Instruments,PS-2,0001,1.0",
            "OUTP?": str(int(on)),
            "MEAS:VOLT?": f"{self.volts if on else 0.0:+.5E}",
            "MEAS:CURR?": f"{AMPERES if on else 0.0:.4f}",
        }
        if line not in answers:
            self.errors.append('-113,"Undefined header"')
        return answers.get(line)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tcp", action="store_true")
    parser.add_argument("--serial", type=Path)
    options = parser.parse_args()
    supply = Supply()
    address, serve = _on_tcp(supply) if options.tcp else _on_terminal(supply, options.serial)
    threading.Thread(target=serve, daemon=True).start()
    _say({"ready": address})
    for line in sys.stdin:
        order = json.loads(line)
        if "errors" in order:
            supply.errors.extend(order.pop("errors"))
        for name, value in order.items():
            setattr(supply, name, value)
        _say({"outputs": supply.outputs, "heard": supply.heard})


def _on_tcp(supply: Supply) -> tuple[str, Callable[[], None]]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_converse, args=(supply, connection), daemon=True).start()

    return f"tcp:127.0.0.1:{listener.getsockname()[1]}", serve


def _converse(supply: Supply, connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as lines:
        for line in lines:
            if supply.fault == "hang up":
                return
            connection.sendall(supply.hear(line.decode().rstrip("\r\n")))


def _on_terminal(supply: Supply, link: Path) -> tuple[str, Callable[[], None]]:
    here, there = pty.openpty()
    tty.setraw(there)
    link.symlink_to(os.ttyname(there))

    def serve() -> None:
        held = b""
        while True:
            held += os.read(here, 4096)
            *lines, held = held.split(b"\n")
            for line in lines:
                if supply.fault == "hang up":
                    time.sleep(60)
                os.write(here, supply.hear(line.decode().rstrip("\r")))

    return f"serial:{link}", serve


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""
Lines of a GPIO chip for tests, where the kernel may have none: fake_gpio.c under the real gpiod package.

What is tested is our driver, gpiod's binding and the libgpiod in it, down to the ioctls; not a kernel.
"""

import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from birthmark.core.errors import ConfigError
from birthmark.line import errors

HERE = Path(__file__).parent
DEVICE = "/dev/full"
_LINES = 32


class PowerChild:
    """A LinePower in another process, as a Power of this one."""

    def __init__(self, library: Path, levels: Path, outlets: Mapping[int, str]) -> None:
        command = [sys.executable, str(HERE / "power_child.py"), DEVICE, json.dumps(dict(outlets))]
        env = {**os.environ, "LD_PRELOAD": str(library), "FAKE_GPIO": str(levels)}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def open(self) -> None:
        self._call("open")

    def check(self, places: Collection[int]) -> None:
        self._call("check", list(places))

    def on(self, place: int) -> None:
        self._call("on", place)

    def off(self, place: int) -> None:
        self._call("off", place)

    def close(self) -> None:
        self._call("close")

    def end(self) -> None:
        self._process.communicate(timeout=5)

    def _call(self, *call: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if answer:
            kind, message = answer
            raise ConfigError(message) if kind == "ConfigError" else getattr(errors, kind)(message)


class FakeLines:
    """The chip, from the world's side."""

    def __init__(self, library: Path, levels: Path) -> None:
        self._library = library
        self._levels = levels
        self._children: list[PowerChild] = []

    def open(self, outlets: Mapping[int, str]) -> PowerChild:
        child = PowerChild(self._library, self._levels, outlets)
        self._children.append(child)
        child.open()
        return child

    def high(self, offset: int) -> bool:
        return bool(self._levels.read_bytes()[offset])

    def unplug(self) -> None:
        with self._levels.open("r+b") as file:
            file.seek(_LINES)
            file.write(b"\1")

    def end(self) -> None:
        for child in self._children:
            child.end()


@contextmanager
def fake_lines(folder: Path) -> Iterator[FakeLines]:
    library, levels = folder / "fake_gpio.so", folder / "levels"
    source = str(HERE / "fake_gpio.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), source, "-ldl"], check=True)
    levels.write_bytes(bytes(_LINES + 1))
    lines = FakeLines(library, levels)
    try:
        yield lines
    finally:
        lines.end()

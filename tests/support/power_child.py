# SPDX-License-Identifier: Apache-2.0
"""Holds a LinePower in a process of its own, where a fake GPIO chip is preloaded; one JSON line per call."""

import json
import sys
from pathlib import Path

from birthmark.core.errors import BirthmarkError
from birthmark.line.fixture.gpio import LinePower


def main() -> None:
    chip, outlets = sys.argv[1], json.loads(sys.argv[2])
    power: LinePower | None = None
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            if name == "open":
                power = LinePower(Path(chip), {int(place): outlet for place, outlet in outlets.items()})
            else:
                getattr(power, name)(*arguments)
            answer: list[str] = []
        except BirthmarkError as error:
            answer = [type(error).__name__, error.message]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""
Run one simulated chip: `python -m birthmark.silicon.simulator --socket P --state FILE --model M --serial S`.

Prints one JSON line when it listens. Stops cleanly on SIGTERM. Exit code 2: it cannot start, with the reason.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from birthmark.core.errors import BirthmarkError, ConfigError
from birthmark.core.ids import chip_serial
from birthmark.silicon.simulator.applet import Applet
from birthmark.silicon.simulator.armed import ArmedFaults
from birthmark.silicon.simulator.chip import Chip
from birthmark.silicon.simulator.memory import ChipMemory, MemoryFile, new_memory
from birthmark.silicon.simulator.rail import ALWAYS_FED, Rail
from birthmark.silicon.simulator.selftest import self_test
from birthmark.silicon.simulator.server import BusServer, Wire, listen
from birthmark.silicon.timing import LATENCIES

DEFAULT_MODEL = "optiga-trust-m"
DEFAULT_FIRMWARE = "1.0.0"


def main() -> None:
    """Serve the chip until SIGTERM."""
    options = _parse()
    signal.signal(signal.SIGTERM, _stop)
    try:
        _run(options)
    except BirthmarkError as error:
        sys.exit(_complain(error))
    except KeyboardInterrupt:
        sys.exit(0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="birthmark.silicon.simulator", description="One simulated secure element.")
    parser.add_argument("--socket", type=Path, required=True, help="where the bus listens")
    parser.add_argument("--state", type=Path, required=True, help="what the chip remembers; made when absent")
    parser.add_argument("--serial", help="serial of a new chip; must match an existing one")
    parser.add_argument("--model", help=f"model of a new chip ({DEFAULT_MODEL}); must match an existing one")
    parser.add_argument("--firmware", default=DEFAULT_FIRMWARE, help="firmware version of a new chip")
    parser.add_argument("--latency", choices=sorted(LATENCIES), default="none", help="whose times the chip takes")
    parser.add_argument("--rail", type=Path, help="folder of the rail that feeds the chip; without it, it always is")
    parser.add_argument("--fsync", action="store_true", help="keep the memory even when the host loses power")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> None:
    self_test()
    file = MemoryFile(options.state, durable=options.fsync)
    memory = _memory(file, options)
    latency = LATENCIES[options.latency]
    faults = ArmedFaults()
    supply = ALWAYS_FED if options.rail is None else Rail(options.rail)
    chip = Chip(Applet(file, memory, latency), latency, faults, time.monotonic, supply)
    listener = listen(options.socket)
    try:
        ready = {"ready": str(options.socket), "model": memory.model, "serial": memory.serial}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        BusServer(chip, faults, Wire(latency)).serve(listener)
    finally:
        listener.close()
        options.socket.unlink(missing_ok=True)


def _memory(file: MemoryFile, options: argparse.Namespace) -> ChipMemory:
    """Return the chip in the file, or a new one that is now in it."""
    if not file.exists():
        if options.serial is None:
            raise ConfigError("a new chip needs a serial", hint="give --serial")
        memory = new_memory(options.model or DEFAULT_MODEL, chip_serial(options.serial), options.firmware)
        file.save(memory)
        return memory
    memory = file.load()
    for what, wanted, found in (("serial", options.serial, memory.serial), ("model", options.model, memory.model)):
        if wanted not in (None, found):
            raise ConfigError(f"the chip in {options.state} has the {what} {found}, not {wanted}")
    return memory


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def _complain(error: BirthmarkError) -> int:
    sys.stderr.write(f"{error.finding}: {error}\n")
    return 2


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""The simulator as a program: its start, its memory, its exclusive bus and its times."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from birthmark.silicon.apdu.driver import APDUChip
from birthmark.silicon.bus.i2c import SimulatedI2C
from birthmark.silicon.port import SLOT_IDENTITY, Algorithm, SlotState
from birthmark.silicon.timing import LATENCIES, LatencyModel
from birthmark_mcu.errors import Refused
from support.chips import CHIP_SERIAL, SimulatedChip, inject_at, simulated_chip

PROGRAM = (sys.executable, "-m", "birthmark.silicon.simulator")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)


def test_what_the_chip_knows_outlives_its_process(tmp_path: Path) -> None:
    state = tmp_path / "chip.json"
    with simulated_chip(state) as chip:
        first = chip.open()
        identity, spki = first.identity(), first.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        first.close()
    with simulated_chip(state) as chip:
        second = chip.open()
        assert second.identity() == identity
        assert second.public_key(SLOT_IDENTITY) == spki
        second.close()


def test_the_memory_is_for_its_owner_only_and_leaves_no_copies(tmp_path: Path) -> None:
    state = tmp_path / "chip.json"
    with simulated_chip(state) as chip:
        assert chip.socket.stat().st_mode & 0o077 == 0
    assert state.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [state]


def test_a_stopped_chip_leaves_no_socket() -> None:
    with simulated_chip() as chip:
        directory = chip.socket.parent
        assert chip.socket.is_socket()
    assert not directory.exists()


def test_two_new_chips_have_different_attestation_keys() -> None:
    with simulated_chip() as one, simulated_chip() as other:
        elements = [one.open(), other.open()]
        first, second = (element.identity().ak_certificates for element in elements)
        assert first != second
        for element in elements:
            element.close()


def test_the_maker_is_served_once() -> None:
    with simulated_chip() as chip, pytest.raises(Refused, match="6985"):
        inject_at(chip.socket)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "a new chip needs a serial"),
        (["--serial", "not a serial"], "is not a chip serial"),
    ],
)
def test_a_new_chip_needs_a_proper_serial(tmp_path: Path, arguments: list[str], reason: str) -> None:
    done = run("--socket", tmp_path / "bus", "--state", tmp_path / "chip.json", *arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--serial", "AAAAAAAA"], ["--model", "se050"]])
def test_a_known_chip_is_not_taken_for_another(tmp_path: Path, arguments: list[str]) -> None:
    state = tmp_path / "chip.json"
    with simulated_chip(state):
        pass
    done = run("--socket", tmp_path / "bus", "--state", state, *arguments)
    assert done.returncode == 2
    assert f"the chip in {state} has the" in done.stderr


@pytest.mark.parametrize("content", [b"", b"{}", b'{"model": 1}'])
def test_a_file_that_is_no_chips_memory_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    state = tmp_path / "chip.json"
    state.write_bytes(content)
    done = run("--socket", tmp_path / "bus", "--state", state)
    assert done.returncode == 2
    assert "is not the state of a simulated chip" in done.stderr
    assert state.read_bytes() == content


def test_a_socket_that_lives_is_not_taken_over() -> None:
    with simulated_chip() as chip:
        done = run("--socket", chip.socket, "--state", chip.state.with_name("other.json"), "--serial", "AAAAAAAA")
        assert done.returncode == 2
        assert "cannot listen" in done.stderr
        element = chip.open()
        assert element.identity().serial == CHIP_SERIAL
        element.close()


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    state = tmp_path / "chip.json"
    with simulated_chip(state) as chip:
        dead = chip.socket.with_name("dead")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(dead))
        process = subprocess.Popen(
            [*PROGRAM, "--socket", str(dead), "--state", str(state)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        process.terminate()
        process.communicate()
        assert process.returncode == 0
        assert not dead.exists()


def test_a_second_master_waits_until_the_first_lets_go() -> None:
    with simulated_chip() as chip:
        first = chip.open()
        first.state(SLOT_IDENTITY)
        found: list[SlotState] = []
        waiting = threading.Thread(target=lambda: found.append(observed(chip)))
        waiting.start()
        time.sleep(0.05)
        assert found == []
        first.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        first.close()
        waiting.join(5)
        assert found == [SlotState.KEYED]


def observed(chip: SimulatedChip) -> SlotState:
    second = chip.open()
    state = second.state(SLOT_IDENTITY)
    second.close()
    return state


def test_a_master_does_not_wait_for_ever() -> None:
    with simulated_chip() as chip:
        holder = SimulatedI2C(chip.socket)
        impatient = SimulatedI2C(chip.socket, timeout_s=0.05)
        with pytest.raises(TimeoutError):
            impatient.readfrom(0x48, 1)
        impatient.deinit()
        holder.deinit()


def test_a_master_that_talks_nonsense_is_let_go_and_the_next_is_served() -> None:
    with simulated_chip() as chip:
        with socket.socket(socket.AF_UNIX) as nonsense:
            nonsense.settimeout(5)
            nonsense.connect(str(chip.socket))
            nonsense.sendall(b"\xff" * 64)
            assert nonsense.recv(1) == b""
        assert observed(chip) is SlotState.EMPTY


def test_another_address_is_not_acknowledged() -> None:
    with simulated_chip() as chip:
        bus = SimulatedI2C(chip.socket)
        with pytest.raises(OSError, match="not acknowledged"):
            bus.writeto(0x30, b"\x5a")
        bus.deinit()


@pytest.mark.parametrize(
    ("model", "generate_ms", "sign_ms"),
    [("none", 0, 0), ("optiga-trust-m", 55, 65), ("se050", 102.9, 102.9), ("slb9670", 231, 68.9)],
)
def test_the_latency_models_are_the_published_figures(model: str, generate_ms: float, sign_ms: float) -> None:
    latency = LATENCIES[model]
    assert (latency.generate_ms, latency.sign_ms, latency.attest_ms) == (generate_ms, sign_ms, sign_ms)


def test_bus_and_memory_times_follow_from_clock_and_page() -> None:
    latency = LatencyModel(bus_hz=400_000, generate_ms=0, sign_ms=0, write_page_ms=5, block_waiting_ms=1)
    assert latency.bus_s(1000) == pytest.approx(0.0225)
    assert [latency.write_ms(size) for size in (1, 256, 257, 1500)] == [5, 5, 10, 30]


def timed_ms(call: object, *arguments: object) -> float:
    assert callable(call)
    start = time.monotonic()
    call(*arguments)
    return (time.monotonic() - start) * 1000


def test_a_chip_takes_the_time_of_its_model() -> None:
    with simulated_chip(latency="optiga-trust-m") as process:
        chip = process.open()
        chip.state(SLOT_IDENTITY)
        assert 55 <= timed_ms(chip.generate_keypair, SLOT_IDENTITY, Algorithm.P256) < 110
        assert 65 <= timed_ms(chip.sign, SLOT_IDENTITY, bytes(32)) < 130
        # 1,500 bytes: 6 pages, and 9 bits at 400 kHz each.
        assert 30 + 33 <= timed_ms(chip.import_certificate, SLOT_IDENTITY, bytes(1500)) < 130
        assert timed_ms(chip.get_certificate, SLOT_IDENTITY) >= 33
        chip.close()


class CountingI2C(SimulatedI2C):
    transfers = 0

    def writeto(self, address: int, data: bytes) -> int:
        self.transfers += 1
        return super().writeto(address, data)

    def readfrom(self, address: int, count: int) -> bytes:
        self.transfers += 1
        return super().readfrom(address, count)


def test_a_busy_chip_is_not_polled_in_a_storm() -> None:
    with simulated_chip(latency="optiga-trust-m") as process:
        bus = CountingI2C(process.socket)
        chip = APDUChip(bus)
        chip.state(SLOT_IDENTITY)
        bus.transfers = 0
        chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        assert bus.transfers <= 6
        chip.close()

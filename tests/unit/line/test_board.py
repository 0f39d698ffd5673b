# SPDX-License-Identifier: Apache-2.0
"""One board's way, with the real chip code, a store on disk and a CA of the forge."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.core.birth import read_birth
from birthmark.core.ids import fingerprint
from birthmark.line.errors import AuthorityAway, AuthorityRefused, UnitInWork
from birthmark.line.journal import Result
from birthmark.line.ports import Event
from birthmark.pki.algorithms import KeyAlgorithm, key_algorithm
from birthmark.silicon.port import SLOT_IDENTITY, Algorithm, SlotState
from birthmark.silicon.simulator.armed import Fault
from birthmark.silicon.simulator.commands import Instruction
from birthmark.stores import line_sqlite
from birthmark.stores.line_sqlite import LineSQLite
from birthmark.testing.forge import Forge
from support.line_bench import MOMENT, ROUTES, UNIT, Bench

ALL_STEPS = ["power", "observe", "generate", "attest", "enrol", "import", "prove", "record"]
AWAY = AuthorityAway("the CA is unreachable", finding="net.unreachable")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def chip_holds(bench: Bench) -> tuple[SlotState, bytes]:
    chip = bench.open()
    state, certificate = chip.state(SLOT_IDENTITY), chip.get_certificate(SLOT_IDENTITY) or b""
    chip.close()
    return state, certificate


def test_a_fresh_board_goes_all_the_way(bench: Bench) -> None:
    verdict = bench.run()
    assert (verdict.result, verdict.finding) == (Result.PASS, "")
    assert bench.steps() == ALL_STEPS
    (issued,) = bench.ca.certificates
    der = issued.public_bytes(Encoding.DER)
    assert chip_holds(bench) == (SlotState.CERTIFIED, der)
    assert (verdict.certificate_sha256, verdict.certificate_bytes) == (fingerprint(der), len(der))
    assert verdict.board_s >= verdict.chip_s > 0


def test_the_birth_is_on_disk_before_pass_is_told(bench: Bench) -> None:
    births_at_verdict: list[int] = []

    def watch(event: Event) -> None:
        if event["event"] == "verdict":
            births_at_verdict.append(len(bench.births()))

    bench.watch = watch
    bench.run()
    assert births_at_verdict == [1]
    (birth,) = bench.births()
    record = read_birth(birth.jws)
    assert (record.unit_serial, record.outcome, record.position) == (UNIT, "PASS", 1)
    assert record.certificate_sha256 == birth.idempotency_key
    assert set(record.step_ms) == set(ALL_STEPS) - {"record"}
    told = ["panel.begun", "work.started", "unit.started", "unit.born", "unit.verdict", "panel.ended"]
    assert [event.kind for event in bench.told()] == told
    assert {each.destination: each.waiting for each in bench.store.backlog()} == {"ca": 1, "mes-file": len(told)}


def test_each_step_is_in_the_journal_before_it_is_told(bench: Bench) -> None:
    def watch(event: Event) -> None:
        if event["event"] == "step.begin":
            assert (bench.store.entries(UNIT)[-1].event, bench.store.entries(UNIT)[-1].step) == ("begin", event["step"])

    bench.watch = watch
    assert bench.run().result is Result.PASS
    assert [entry.step for entry in bench.store.entries(UNIT) if entry.event == "begin"] == ALL_STEPS
    assert bench.store.entries(UNIT)[-1].verdict == "PASS"


def test_the_same_board_again_is_passed_without_a_write(bench: Bench) -> None:
    first = bench.run()
    bench.ca.set_state("confirmed")
    bench.events.clear()
    again = bench.run()
    assert again.result is Result.PASS_ALREADY
    assert again.certificate_sha256 == first.certificate_sha256
    assert bench.steps() == ["power", "observe", "prove"]
    assert len(bench.births()) == 1
    assert bench.store.entries(UNIT)[-1].verdict == "PASS-ALREADY"


def test_a_birth_on_our_disk_makes_a_second_one_needless_while_the_ca_waits_for_it(bench: Bench) -> None:
    bench.run()
    assert bench.run().result is Result.PASS_ALREADY
    assert len(bench.births()) == 1


def test_a_board_with_a_key_goes_on_with_that_key(bench: Bench) -> None:
    chip = bench.open()
    spki = chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    chip.close()
    assert bench.run().result is Result.RESUMED
    assert bench.steps() == [step for step in ALL_STEPS if step != "generate"]
    chip = bench.open()
    assert chip.public_key(SLOT_IDENTITY) == spki
    assert read_birth(bench.births()[0].jws).outcome == "RESUMED"


def test_a_certified_board_without_a_birth_is_proven_and_recorded(bench: Bench, tmp_path: Path) -> None:
    bench.run()
    bench.store.close()
    bench.store = LineSQLite(tmp_path / "rig-b.sqlite", ROUTES)
    bench.events.clear()
    assert bench.run().result is Result.RESUMED
    assert bench.steps() == ["power", "observe", "prove", "record"]
    assert len(bench.births()) == 1


@pytest.mark.parametrize(
    ("spoil", "unit", "finding"),
    [
        pytest.param(lambda bench: bench.ca.set_state("revoked"), UNIT, "line.certificate.dead", id="revoked"),
        pytest.param(lambda bench: bench.ca.set_state("superseded"), UNIT, "line.certificate.dead", id="superseded"),
        (lambda bench: bench.ca.issued.clear(), UNIT, "line.certificate.unknown"),
        (lambda _: None, "BM-000002", "line.certificate.unit"),
        (lambda bench: setattr(bench, "forge", Forge.at(MOMENT)), UNIT, "pki.path.unknown-issuer"),
        (lambda bench: write(bench, b"not a certificate"), UNIT, "line.certificate.malformed"),
        (
            lambda bench: write(bench, bench.forge.device(UNIT).certificate.public_bytes(Encoding.DER)),
            UNIT,
            "line.certificate.key",
        ),
    ],
)
def test_a_board_that_contradicts_itself_goes_to_quarantine_untouched(
    bench: Bench, spoil: Callable[[Bench], None], unit: str, finding: str
) -> None:
    bench.run()
    spoil(bench)
    before = chip_holds(bench)
    bench.events.clear()
    verdict = bench.run(unit)
    assert (verdict.result, verdict.finding) == (Result.QUARANTINE, finding)
    assert bench.steps() == ["power", "observe"]
    assert chip_holds(bench) == before
    assert len(bench.births()) == 1
    assert bench.store.entries(unit)[-1].finding == finding


def write(bench: Bench, der: bytes) -> None:
    chip = bench.open()
    chip.import_certificate(SLOT_IDENTITY, der)
    chip.close()


@pytest.mark.parametrize("call", ["nonce", "enrol"])
def test_a_ca_that_is_away_is_waited_for_and_the_board_passes_alone(bench: Bench, call: str) -> None:
    bench.ca.trouble[call] = [AWAY, AWAY]
    assert bench.run().result is Result.PASS
    assert len(bench.ca.certificates) == 1


def test_a_ca_that_stays_away_fails_the_board_when_the_hold_has_a_limit(bench: Bench) -> None:
    bench.hold_limit_s = 0.05
    bench.ca.trouble["nonce"] = [AWAY] * 1000
    verdict = bench.run()
    assert (verdict.result, verdict.finding) == (Result.FAIL, "line.hold.limit")
    assert chip_holds(bench)[0] is SlotState.KEYED


def test_a_nonce_that_went_stale_in_a_hold_is_replaced_by_a_fresh_one(bench: Bench) -> None:
    bench.ca.trouble["enrol"] = [AWAY, AuthorityRefused("too old", finding="ca.6.nonce-expired")]
    assert bench.run().result is Result.PASS
    assert len(bench.ca.nonces) == 2
    assert bench.steps().count("generate") == 1


def test_a_unit_that_the_other_rig_has_in_work_waits_for_its_lease(bench: Bench) -> None:
    in_work = UnitInWork("the unit is with rig-b", finding="ca.6.unit-in-work", retry_after_s=0.05)
    bench.ca.trouble["nonce"] = [in_work, in_work]
    assert bench.run().result is Result.PASS
    assert bench.kinds("hold", "resume") == ["hold", "resume"]


@pytest.mark.parametrize(
    ("finding", "result"),
    [
        ("ca.8.quota", Result.FAIL),
        ("ca.1.order-rig", Result.FAIL),
        ("ca.7.chip-alive", Result.QUARANTINE),
        ("evidence.key.imported", Result.QUARANTINE),
    ],
)
def test_a_refusal_of_the_ca_is_told_with_its_finding(bench: Bench, finding: str, result: Result) -> None:
    bench.ca.trouble["enrol"] = [AuthorityRefused("no", finding=finding)]
    verdict = bench.run()
    assert (verdict.result, verdict.finding) == (result, finding)
    assert chip_holds(bench)[0] is SlotState.KEYED
    assert bench.births() == []


@pytest.mark.parametrize(
    "instruction",
    [Instruction.GENERATE, Instruction.ATTEST, Instruction.SIGN, Instruction.PUT_CERTIFICATE, Instruction.GET_STATUS],
)
@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE_COMMAND, Fault.CUT_AFTER_COMMAND])
def test_a_power_cut_at_a_command_is_mended_by_observing_again(
    bench: Bench, fault: Fault, instruction: Instruction
) -> None:
    bench.arm(fault, 1, 0, instruction)
    verdict = bench.run()
    assert verdict.result in {Result.PASS, Result.RESUMED}
    assert len(bench.ca.certificates) == 1
    assert len(bench.births()) == 1


def test_a_command_that_the_chip_refuses_fails_the_board_with_what_to_do(bench: Bench) -> None:
    bench.arm(Fault.REFUSE_COMMANDS, 1, 0x6F00, Instruction.GENERATE)
    verdict = bench.run()
    assert (verdict.result, verdict.finding) == (Result.FAIL, "chip.refused")
    assert bench.run().result is Result.PASS


def test_a_board_without_a_chip_fails_at_once(bench: Bench) -> None:
    bench.arm(Fault.NAK_TRANSFERS, 60_000, 0, 0)
    verdict = bench.run()
    assert (verdict.result, verdict.finding) == (Result.FAIL, "chip.absent")


def test_a_disk_that_is_full_stops_the_board_before_anything_is_issued(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_sqlite, "RESERVE_BYTES", 1 << 60)
    verdict = bench.run()
    assert (verdict.result, verdict.finding) == (Result.FAIL, "line.disk")
    assert bench.steps()[-1] == "attest"
    assert bench.ca.certificates == []


def test_a_journal_that_cannot_be_written_stops_the_board_before_the_next_step(bench: Bench) -> None:
    def watch(event: Event) -> None:
        if event == {"event": "step.begin", "position": 1, "unit": UNIT, "step": "generate"}:
            bench.store.close()

    bench.watch = watch
    verdict = bench.run()
    assert (verdict.result, verdict.finding) == (Result.FAIL, "line.disk")
    assert bench.steps()[-1] == "generate"
    assert bench.ca.certificates == []


def test_a_birth_that_does_not_reach_the_disk_is_no_pass_and_the_next_run_finishes(bench: Bench) -> None:
    def watch(event: Event) -> None:
        if event["event"] == "step.begin" and event["step"] == "record":
            bench.store._file.read("pragma query_only = on")

    bench.watch = watch
    verdict = bench.run()
    assert (verdict.result, verdict.finding) == (Result.FAIL, "line.disk")
    bench.store._file.read("pragma query_only = off")
    bench.watch = lambda _: None
    assert bench.run().result is Result.RESUMED
    assert len(bench.ca.certificates) == len(bench.births()) == 1


def test_a_key_of_another_type_than_the_ca_wants_is_made_anew(bench: Bench) -> None:
    """A run was cut off after GENERATE, and the profile has changed since."""
    bench.ca.wanted = Algorithm.P384
    bench.ca.trouble["enrol"] = [AuthorityRefused("not now", finding="ca.8.window")]
    assert bench.run().result is Result.FAIL
    bench.ca.wanted, bench.events = Algorithm.P256, []
    assert bench.run().result is Result.RESUMED
    assert "generate" in bench.steps()
    assert key_algorithm(bench.ca.certificates[-1].public_key()) is KeyAlgorithm.P256

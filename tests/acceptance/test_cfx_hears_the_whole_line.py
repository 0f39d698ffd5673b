# SPDX-License-Identifier: Apache-2.0
"""A factory's MES behind a real RabbitMQ hears of every panel: the rig's own process over a lab, from start to end."""

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from birthmark.testing.lab.files import OPERATOR
from birthmark.testing.lab.record import Lab
from support.cfx import demand_envelope
from support.cfx_factory import REQUESTS, Answer, bodies, clear_away, factory, join, reply, set_up, taken
from support.cfx_mes import response
from support.labs import PROGRAM, birthmark, one_board_panel, running_lab
from support.rabbitmq import RabbitMQ, rabbitmq
from support.stations import serving, station_config

BOARDS = 14
PATIENCE_S = 40.0
DOWN, IDLE, WORK, HELD = 6500, 2200, 1100, 2500
Message = dict[str, Any]


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQ]:
    with rabbitmq() as running:
        yield running


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab; each test takes fresh boards of it."""
    with running_lab(tmp_path_factory.mktemp("lab"), boards=BOARDS) as lab:
        yield lab


@pytest.fixture
def rig(lab: Lab, broker: RabbitMQ) -> Iterator[Path]:
    """rig-a of the lab as a member of the network, whose queues are empty."""
    with broker.channel() as channel:
        set_up(channel)
    path = Path(lab.rig_configs["rig-a"])
    join(path, broker)
    yield path
    birthmark("line", "deliver", "--config", path)
    with broker.channel() as channel:
        clear_away(channel)


def run(rig: Path, panel: Path) -> subprocess.CompletedProcess[str]:
    return birthmark("line", "run", "--config", rig, "--panel", panel, "--json")


def verdicts(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["unit"]: (each["verdict"], each["finding"]) for each in said if each["event"] == "verdict"}


def panel_of(lab: Lab, *numbers: int, bad: str = "") -> Path:
    """Write and return a panel of these boards, and of one with a bad mark."""
    panel = lab.path / "panel-of.toml"
    boards = [lab.boards[number] for number in numbers]
    lines = [f'[[position]]\nunit = "{board.unit}"\nchip = "{board.chip}"\n' for board in boards]
    panel.write_text("".join(lines) + (f'[[position]]\nunit = "{bad}"\nbad = true\n' if bad else ""))
    return panel


def consumed(broker: RabbitMQ) -> list[Message]:
    """Return what the MES has got, each message once: judged by the published fields alone, as they came."""
    with broker.channel() as channel:
        found = [json.loads(body) for body in bodies(channel)]
    for message in found:
        demand_envelope(json.loads(json.dumps(message)))
    return list({message["UniqueID"]: message for message in found}.values())


def story(messages: list[Message]) -> list[str]:
    """Return the messages in short: state changes with their codes, the work with its result."""
    told = []
    for message in messages:
        name, body = message["MessageName"].rpartition(".")[2], message["MessageBody"]
        if name == "StationStateChanged":
            name = f"{body['OldState']}>{body['NewState']}"
        told.append(f"{name} {body['Result']}" if name == "WorkCompleted" else name)
    return told


def only(messages: list[Message], name: str) -> Message:
    (found,) = (message["MessageBody"] for message in messages if message["MessageName"].endswith(f".{name}"))
    return dict(found)


def at(message: Message) -> datetime:
    return datetime.fromisoformat(message["TimeStamp"])


PANEL = [f"{IDLE}>{WORK}", "WorkStarted", "UnitsPersonalized", "UnitsTested"]
END = ["WorkCompleted Completed", "UnitsDeparted", f"{WORK}>{IDLE}"]
ONE_BOARD = ["UnitsArrived", *PANEL, *END]
WHOLE_RUN = [f"{DOWN}>{IDLE}", *ONE_BOARD, f"{IDLE}>{DOWN}"]


def test_a_run_is_told_from_its_start_to_its_end(lab: Lab, rig: Path, broker: RabbitMQ) -> None:
    done = run(rig, panel_of(lab, 0, 1, bad="BM-999999"))
    assert done.returncode == 0, done.stderr
    messages = consumed(broker)
    told = story(messages)
    assert told[:4] == [f"{DOWN}>{IDLE}", "UnitsArrived", f"{IDLE}>{WORK}", "WorkStarted"]
    assert Counter(told[4:8]) == {"UnitsPersonalized": 2, "UnitsTested": 2}
    assert told[8:] == [*END, f"{IDLE}>{DOWN}"]
    units = [board.unit for board in lab.boards[:2]]
    labels = [(units[0], 1, "Pass"), (units[1], 2, "Pass"), ("BM-999999", 3, "Scrap")]
    for name in ("UnitsArrived", "WorkStarted", "WorkCompleted", "UnitsDeparted"):
        listed = only(messages, name)["Units"]
        assert [(each["UnitIdentifier"], each["PositionNumber"], each["Status"]) for each in listed] == labels
    ids = {
        message["MessageBody"].get("TransactionID") or message["MessageBody"]["TransactionId"]
        for message in messages[3:9]
    }
    assert len(ids) == 1
    tested = [
        message["MessageBody"]["TestedUnits"][0] for message in messages if "TestedUnits" in message["MessageBody"]
    ]
    assert {unit["UnitIdentifier"]: unit["OverallResult"] for unit in tested} == dict.fromkeys(units, "Passed")
    times = [at(message) for message in messages if not message["MessageName"].endswith("UnitsPersonalized")]
    assert times == sorted(times)


def test_a_board_that_fails_is_told_with_its_finding(lab: Lab, rig: Path, broker: RabbitMQ) -> None:
    panel = lab.path / "absent.toml"
    panel.write_text('[[position]]\nunit = "BM-999998"\nchip = "apdu:unix=/nonexistent/board.sock"\n')
    assert run(rig, panel).returncode == 1
    messages = consumed(broker)
    assert story(messages)[1:7] == ["UnitsArrived", *PANEL[:2], "UnitsTested", "WorkCompleted Failed", "UnitsDeparted"]
    (unit,) = only(messages, "UnitsTested")["TestedUnits"]
    assert unit["OverallResult"] == "Error"
    assert unit["Tests"][0]["SymptomsFound"][0]["SymptomCode"] == "chip.absent"


def test_what_happened_while_the_broker_was_away_arrives_later_in_order_with_its_own_time(
    lab: Lab, rig: Path, broker: RabbitMQ
) -> None:
    broker.kill()
    for number in (2, 3):
        assert run(rig, one_board_panel(lab, number)).returncode == 0
    back = datetime.now(UTC)
    broker.start()
    done = birthmark("line", "deliver", "--config", rig, "--json")
    assert json.loads(done.stdout.splitlines()[-1]) == {"event": "deliver.end", "outbox": 0}
    messages = consumed(broker)
    assert story(messages) == WHOLE_RUN * 2
    assert all(at(message) < back for message in messages)


def kill_at(rig: Path, panel: Path, step: str) -> None:
    """Run the panel, and kill the rig with SIGKILL when a step begins."""
    command = [*PROGRAM, "line", "run", "--config", str(rig), "--panel", str(panel), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as line:
        assert line.stdout is not None
        for said in line.stdout:
            event = json.loads(said)
            if event["event"] == "step.begin" and event["step"] == step:
                line.send_signal(signal.SIGKILL)
                return
    pytest.fail(f"the rig never came to {step}")


def test_a_rig_that_is_killed_in_mid_panel_has_its_work_aborted_by_its_next_start(
    lab: Lab, rig: Path, broker: RabbitMQ
) -> None:
    panel = one_board_panel(lab, 4)
    kill_at(rig, panel, "observe")
    killed = datetime.now(UTC)
    assert run(rig, panel).returncode == 0
    messages = consumed(broker)
    told = story(messages)
    aborted = told.index("WorkCompleted Aborted")
    assert told[:aborted] == [f"{DOWN}>{IDLE}", "UnitsArrived", *PANEL[:2]]
    assert told[aborted + 1 : aborted + 4] == ["UnitsDeparted", f"{WORK}>{IDLE}", f"{IDLE}>{DOWN}"]
    assert told[aborted + 4 :] == WHOLE_RUN
    # As far as its disk knows: the last sign of life.
    assert all(at(message) <= killed for message in messages[: aborted + 4])
    assert all(at(message) > killed for message in messages[aborted + 4 :])


# --- the interlock ---


def cleared(*refused: str) -> Answer:
    """Return a MES that clears all units but these, and judges each question by the published fields."""

    def answer(channel: BlockingChannel, body: bytes, correlation_id: str) -> None:
        demand_envelope(json.loads(body))
        reply(channel, json.dumps(response(json.loads(body), list(refused))).encode(), correlation_id)

    return answer


@pytest.fixture
def asking(rig: Path, broker: RabbitMQ) -> Iterator[Callable[..., Path]]:
    def configured(unanswered: str = "stop", timeout_s: float = 1.0) -> Path:
        join(rig, broker, {"unanswered": unanswered, "timeout_s": timeout_s})
        return rig

    yield configured
    join(rig, broker)


def test_a_panel_that_the_factory_clears_is_worked_on(lab: Lab, asking: Callable[..., Path], broker: RabbitMQ) -> None:
    with factory(broker, cleared()):
        assert run(asking(), one_board_panel(lab, 5)).returncode == 0
    assert story(consumed(broker)) == WHOLE_RUN


def test_a_unit_that_the_factory_refuses_is_not_touched_and_its_neighbour_is_worked_on(
    lab: Lab, asking: Callable[..., Path], broker: RabbitMQ
) -> None:
    kept, refused = (lab.boards[number].unit for number in (6, 7))
    with factory(broker, cleared(refused)):
        done = run(asking(), panel_of(lab, 6, 7))
    assert verdicts(done) == {kept: ("PASS", ""), refused: ("FAIL", "cfx.interlock.refused")}
    steps = [json.loads(line) for line in done.stdout.splitlines() if '"step.begin"' in line]
    assert {step["unit"] for step in steps} == {kept}
    messages = consumed(broker)
    assert story(messages) == [*WHOLE_RUN[:6], "WorkCompleted Failed", *WHOLE_RUN[7:]]
    statuses = {each["UnitIdentifier"]: each["Status"] for each in only(messages, "WorkCompleted")["Units"]}
    assert statuses == {kept: "Pass", refused: "Fail"}


def test_a_panel_that_the_factory_refuses_comes_and_goes_without_work(
    lab: Lab, asking: Callable[..., Path], broker: RabbitMQ
) -> None:
    units = [lab.boards[number].unit for number in (8, 9)]
    with factory(broker, cleared(*units)):
        done = run(asking(), panel_of(lab, 8, 9))
    assert (done.returncode, set(verdicts(done).values())) == (1, {("FAIL", "cfx.interlock.refused")})
    assert "step.begin" not in done.stdout
    assert story(consumed(broker)) == [f"{DOWN}>{IDLE}", "UnitsArrived", "UnitsDeparted", f"{IDLE}>{DOWN}"]


def test_a_panel_waits_until_the_factory_answers_and_the_wait_is_a_fault(
    lab: Lab, asking: Callable[..., Path], broker: RabbitMQ
) -> None:
    command = [*PROGRAM, "line", "run", "--config", str(asking()), "--panel", str(one_board_panel(lab, 10)), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as line:
        assert line.stdout is not None
        said = [json.loads(line.stdout.readline()) for _ in range(2)]
        assert [each["event"] for each in said] == ["panel.start", "hold"]
        assert said[1]["finding"] == "cfx.interlock.unanswered"
        with factory(broker, cleared()):
            rest = [json.loads(each) for each in line.stdout]
    assert rest[0]["event"] == "resume"
    messages = consumed(broker)
    held = ["FaultOccurred", f"{IDLE}>{HELD}", "FaultCleared", f"{HELD}>{IDLE}"]
    assert story(messages) == [*WHOLE_RUN[:2], *held, *WHOLE_RUN[2:]]
    fault = only(messages, "FaultOccurred")["Fault"]
    assert fault["FaultCode"] == "cfx.interlock.unanswered"
    assert only(messages, "FaultCleared")["FaultOccurrenceId"] == fault["FaultOccurrenceId"]


def test_a_panel_that_waited_too_long_is_broken_off_and_none_of_its_boards_touched(
    lab: Lab, asking: Callable[..., Path], broker: RabbitMQ
) -> None:
    path = asking()
    whole = path.read_text()
    path.write_text("hold_limit_s = 4.0\n" + whole)
    done = run(path, one_board_panel(lab, 11))
    path.write_text(whole)
    assert done.returncode == 5
    assert "step.begin" not in done.stdout
    birthmark("line", "deliver", "--config", path)
    held = ["FaultOccurred", f"{IDLE}>{HELD}", "FaultCleared", f"{HELD}>{IDLE}"]
    assert story(consumed(broker)) == [*WHOLE_RUN[:2], *held, "UnitsDeparted", f"{IDLE}>{DOWN}"]


def test_a_factory_that_need_not_answer_holds_up_nothing_and_the_events_say_that_it_did_not(
    lab: Lab, asking: Callable[..., Path], broker: RabbitMQ
) -> None:
    done = run(asking("go"), one_board_panel(lab, 11))
    assert done.returncode == 0
    said = [json.loads(line) for line in done.stdout.splitlines()]
    (assumed,) = (each for each in said if each["event"] == "interlock.assumed")
    assert assumed["what"] == "nobody answered within 1 s"
    events = [json.loads(line) for line in Path(lab.births).read_text().splitlines()]
    assert [each["assumed"] for each in events if each["event"] == "work.started"][-1] == assumed["what"]
    assert story(consumed(broker)) == WHOLE_RUN
    with broker.channel() as channel:
        assert len(taken(channel, REQUESTS)) == 1


# --- the station ---


def ask(url: str, body: object | None = None) -> Message:
    """Return what the station's REST interface answers."""
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=PATIENCE_S)) as connection:
        data = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", parts.path, data, {"content-type": "application/json"})
        answer = connection.getresponse()
        told: Message = json.loads(answer.read())
        assert answer.status == 200, told
        return told


def eventually(url: str, holds: Callable[[Message], bool]) -> Message:
    deadline = time.monotonic() + PATIENCE_S
    while not holds(floor := ask(f"{url}/v1/floor")):
        assert time.monotonic() < deadline, floor
        time.sleep(0.1)
    return floor


@contextmanager
def away(broker: RabbitMQ) -> Iterator[None]:
    broker.kill()
    try:
        yield
    finally:
        broker.start()


def test_a_station_comes_up_without_the_broker_holds_its_panel_for_the_interlock_and_goes_on_when_it_is_back(
    lab: Lab, asking: Callable[..., Path], broker: RabbitMQ, tmp_path: Path
) -> None:
    board = lab.boards[12]
    config = station_config(tmp_path, asking(), [board.chip])
    with away(broker):
        began = datetime.now(UTC)
        station_process = serving(config)
        station = station_process.__enter__()
        for typed in (f"BM:OP:{OPERATOR}", board.unit):
            ask(f"{station.url}/v1/scan", {"typed": typed})
        floor = eventually(station.url, lambda floor: bool(floor["held"]["finding"]))
        assert floor["held"]["finding"] == "cfx.interlock.unanswered"
        assert floor["phase"] == "running"
    try:
        with factory(broker, cleared()):
            floor = eventually(station.url, lambda floor: floor["phase"] == "shown")
        assert floor["places"][0]["look"] == "pass"
        eventually(station.url, lambda floor: floor["outbox"] == 0)
        station.end()
    finally:
        station_process.__exit__(None, None, None)
    messages = consumed(broker)
    held = ["FaultOccurred", f"{IDLE}>{HELD}", "FaultCleared", f"{HELD}>{IDLE}"]
    assert story(messages) == [*WHOLE_RUN[:2], *held, *WHOLE_RUN[2:]]
    assert began < at(messages[0])

# SPDX-License-Identifier: Apache-2.0
"""Tokens that fail and come back: SoftHSM in a process of its own, killed, stopped, changed and moved away."""

import hashlib
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.errors import PinRefused, TokenFailed, TokenHealing
from birthmark.pki.keys.pkcs11 import POOL_MAX_SESSIONS, Ending, Outage, State, Token, TokenKey
from birthmark.pki.keys.pkcs11 import token as token_module
from birthmark.pki.keys.pkcs11.meanings import Remedy
from birthmark.testing.lab.softhsm import CLIENT_MODULE, TokenServer
from support.softhsm import LABEL, MODULE, PIN, SoftHSM, make_token, pkcs11_tool

SHA256 = ec.ECDSA(hashes.SHA256())
PATIENCE_S = 20
"""How long a test waits for what comes in a moment; it fails then, and does not measure."""


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHSM:
    made = make_token(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.configuration))
    return made


@pytest.fixture
def server(hsm: SoftHSM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    made = TokenServer(tmp_path, {"SOFTHSM2_CONF": str(hsm.configuration)})
    for name, value in made.client_environment.items():
        monkeypatch.setenv(name, value)
    made.start()
    yield made
    made.send(signal.SIGCONT)
    made.stop()


class Events:
    """The outages of a token that have ended."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Outage] = queue.Queue()
        self.all: list[Outage] = []

    def __call__(self, outage: Outage) -> None:
        self.all.append(outage)
        self._queue.put(outage)

    def next(self) -> Outage:
        return self._queue.get(timeout=PATIENCE_S)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def served(server: TokenServer, events: Events) -> Iterator[Token]:
    assert server
    with Token.open(CLIENT_MODULE, LABEL, PIN, on_event=events) as opened:
        yield opened


@pytest.fixture
def token(hsm: SoftHSM, events: Events) -> Iterator[Token]:
    assert hsm
    with Token.open(MODULE, LABEL, PIN, on_event=events) as opened:
        yield opened


def new_key(token: Token, label: str = "issuing") -> TokenKey:
    key = token.generate(label, KeyAlgorithm.P256)
    assert isinstance(key, TokenKey)
    return key


def check(key: TokenKey, data: bytes = b"data") -> None:
    key.public_key().verify(key.sign(data, SHA256), data, SHA256)


def lose_sessions(token: Token) -> None:
    """End every session of the process between two calls, as an HSM does. (SoftHSM crashes if it is amid a call.)"""
    connection = token._connection
    with connection.module.changing:
        assert connection.vacate()
        assert connection.module.close_sessions(connection.token.slot.slot_id)
        connection.reoccupy()


class Load:
    """Threads that sign without a pause. A call that is told to come back comes back; every signature is verified."""

    def __init__(self, key: TokenKey, threads: int) -> None:
        self.problems: list[BaseException] = []
        self.signed = 0
        self.refused = 0
        self._key = key
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in self._threads)

    def wait_for_more(self, count: int = 20) -> None:
        aim = self.signed + count
        until(lambda: self.signed >= aim or bool(self.problems))

    def _work(self, number: int) -> None:
        count = 0
        while not self._over.is_set():
            count += 1
            try:
                check(self._key, f"{number}:{count}".encode())
                self.signed += 1
            except TokenHealing:
                self.refused += 1
                self._over.wait(0.05)
            except BaseException as error:  # noqa: BLE001 reported in the test's own thread
                self.problems.append(error)
                return


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_a_token_that_is_killed_twenty_times_under_load_heals_each_time(
    served: Token, server: TokenServer, events: Events
) -> None:
    key = new_key(served)
    with Load(key, threads=POOL_MAX_SESSIONS + 2) as load:
        for number in range(20):
            load.wait_for_more()
            server.kill()
            until(lambda: served.ladder.state is not State.SOUND)
            if number % 4 == 0:
                until(lambda: served.ladder.attempts >= 2)  # now and then it stays away for a while
            server.start()
            assert events.next().ending is Ending.HEALED
        load.wait_for_more()
    assert load.problems == []
    assert len(events.all) == 20, "one event per outage"
    assert served.ladder.state is State.SOUND


def test_a_token_that_nobody_asks_heals_by_itself(served: Token, server: TokenServer, events: Events) -> None:
    key = new_key(served)
    server.kill()
    with pytest.raises(TokenHealing):
        check(key)
    server.start()
    outage = events.next()
    assert (outage.token, outage.ending) == (LABEL, Ending.HEALED)
    assert "DeviceError" in outage.cause
    assert outage.attempts >= 1
    assert outage.lasted_s >= 0
    check(key)


def test_a_kill_that_is_over_at_once_is_not_seen_by_callers(served: Token, server: TokenServer) -> None:
    key = new_key(served)
    server.kill()
    server.start()
    check(key)


def test_while_a_token_is_away_callers_are_told_when_to_come_back(served: Token, server: TokenServer) -> None:
    key = new_key(served)
    server.kill()
    for _ in range(3):
        with pytest.raises(TokenHealing) as later:
            check(key)
        assert later.value.finding == "key.token-healing"
        assert 1 <= later.value.retry_after_s <= 30
    server.start()


def test_a_token_that_hangs_holds_up_nobody_for_long_and_heals_when_it_goes_on(
    served: Token, server: TokenServer, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_module, "SESSION_WAIT_S", 0.2)
    key = new_key(served)
    server.send(signal.SIGSTOP)
    with Load(key, threads=POOL_MAX_SESSIONS) as load:  # they take every session, and hang
        time.sleep(0.1)
        with pytest.raises(TokenHealing) as later:
            check(key)
        assert "no call came back" in str(later.value)
        server.send(signal.SIGCONT)
        assert events.next().ending is Ending.HEALED
        load.wait_for_more()
    assert load.problems == []
    check(key)


def test_a_token_that_hangs_and_is_killed_then_heals(
    served: Token, server: TokenServer, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_module, "SESSION_WAIT_S", 0.2)
    key = new_key(served)
    server.send(signal.SIGSTOP)
    with Load(key, threads=POOL_MAX_SESSIONS) as load:
        until(lambda: served.ladder.state is not State.SOUND or load.refused > 0 or _refused(key))
        server.kill()
        server.start()
        assert events.next().ending is Ending.HEALED
        load.wait_for_more()
    assert load.problems == []


def _refused(key: TokenKey) -> bool:
    try:
        check(key)
    except TokenHealing:
        return True
    return False


def test_sessions_that_end_behind_our_back_are_replaced_unseen(token: Token, events: Events) -> None:
    key = new_key(token)
    for _ in range(3):
        check(key)
        lose_sessions(token)
        check(key)
        assert events.next().ending is Ending.HEALED
    assert len(events.all) == 3


def test_sessions_end_behind_the_back_of_many_threads(token: Token, events: Events) -> None:
    with Load(new_key(token), threads=4) as load:
        for _ in range(10):
            load.wait_for_more()
            lose_sessions(token)
            assert events.next().ending is Ending.HEALED
        load.wait_for_more()
    assert load.problems == []
    assert len(events.all) == 10


def test_a_session_that_is_busy_with_something_else_is_replaced_without_an_outage(token: Token, events: Events) -> None:
    key = new_key(token)
    connection = token._connection
    for _ in range(POOL_MAX_SESSIONS):
        check(key)
    for seat in connection.seats._all:
        seat.session.close()
    for _ in range(POOL_MAX_SESSIONS):
        check(key)
    assert events.all == []
    assert token.ladder.attempts == 0


def test_a_token_directory_that_went_away_and_came_back_is_used_again(
    token: Token, hsm: SoftHSM, events: Events
) -> None:
    key = new_key(token)
    away = hsm.tokens.with_name("away")
    hsm.tokens.rename(away)
    for _ in range(3):
        with pytest.raises(TokenHealing):
            check(key)
    away.rename(hsm.tokens)
    assert events.next().ending is Ending.HEALED
    check(key)


def test_a_pin_that_was_changed_meanwhile_is_offered_once(
    served: Token, server: TokenServer, hsm: SoftHSM, events: Events
) -> None:
    """Tokens lock after a few wrong PINs: the heart of a service must not be the thing that locks them."""
    key = new_key(served)
    server.kill()
    pkcs11_tool(hsm, "--change-pin", "--new-pin", "654321")
    server.start()
    for _ in range(3):
        with pytest.raises(PinRefused) as refused:
            check(key)
        assert refused.value.finding == "key.pin"
        assert PIN.decode() not in str(refused.value)
    outage = events.next()
    assert (outage.ending, outage.attempts) == (Ending.LOST, 1)
    assert served.ladder.state is State.LOST
    assert len(events.all) == 1


def test_another_token_under_the_same_label_is_not_offered_the_pin(
    token: Token, hsm: SoftHSM, events: Events, tmp_path: Path
) -> None:
    key = new_key(token)
    away = hsm.tokens.with_name("away")
    hsm.tokens.rename(away)
    make_token(tmp_path)
    with pytest.raises(TokenHealing):
        check(key)
    until(lambda: token.ladder.attempts >= 3)
    assert events.all == [], "neither healed nor lost: the right token may still come back"
    hsm.tokens.rename(hsm.tokens.with_name("other"))
    away.rename(hsm.tokens)
    assert events.next().ending is Ending.HEALED
    check(key)


def test_a_key_that_was_replaced_under_its_label_does_not_sign_for_the_old_one(token: Token, hsm: SoftHSM) -> None:
    key = new_key(token)
    for kind in ("privkey", "pubkey"):
        pkcs11_tool(hsm, "--delete-object", "--type", kind, "--label", "issuing")
    pkcs11_tool(hsm, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "01", "--label", "issuing", "--usage-sign")
    lose_sessions(token)
    for _ in range(3):
        with pytest.raises(TokenHealing):
            check(key)


def test_a_restart_of_the_module_for_one_token_is_healed_in_the_other(
    token: Token, tmp_path: Path, events: Events
) -> None:
    make_token(tmp_path, "second")
    others = Events()
    lose_sessions(token)  # SoftHSM lists a new token when the module is started again
    token._failed(Remedy.MODULE, "a test", token._generation)
    assert events.next().ending is Ending.HEALED
    with Token.open(MODULE, "second", PIN, on_event=others) as second:
        one, two = new_key(token), new_key(second)
        assert one.public_key() != two.public_key()
        with Load(one, threads=3) as load, Load(two, threads=3) as other_load:
            for _ in range(5):
                load.wait_for_more()
                other_load.wait_for_more()
                token._failed(Remedy.MODULE, "a test", token._generation)
                assert events.next().ending is Ending.HEALED
                assert others.next().ending is Ending.HEALED
        assert load.problems == other_load.problems == []
    assert len(others.all) == 5


def test_a_client_that_serves_one_call_at_a_time_serves_one_token(served: Token) -> None:
    with pytest.raises(TokenFailed, match="one token at a time"):
        Token.open(CLIENT_MODULE, LABEL, PIN)
    check(new_key(served))


def test_a_token_is_closed_while_it_is_being_reopened(served: Token, server: TokenServer, events: Events) -> None:
    key = new_key(served)
    server.kill()
    with pytest.raises(TokenHealing):
        check(key)
    served.close()
    with pytest.raises(TokenFailed, match="was closed"):
        check(key)
    assert events.all == []


def test_what_is_signed_is_what_was_asked_for_in_every_batch(served: Token, server: TokenServer) -> None:
    key = new_key(served)
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(50)]
    over = threading.Event()

    def shoot() -> None:
        while not over.wait(0.3):
            server.kill()
            server.start()

    killer = threading.Thread(target=shoot)
    killer.start()
    whole = 0
    while whole < 30:
        try:
            signatures = key.sign_digests(digests)
        except TokenHealing:
            time.sleep(0.05)
            continue
        whole += 1
        for digest, signature in zip(digests, signatures, strict=True):
            key.public_key().verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    over.set()
    killer.join()

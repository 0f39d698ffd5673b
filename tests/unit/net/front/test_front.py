# SPDX-License-Identifier: Apache-2.0
"""A real Envoy with real workers: who the client is, what it can hold open, and what happens when a process dies."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from birthmark.net import asgi, tls
from birthmark.net.errors import TLSRefused, Unreachable
from birthmark.net.front import description
from birthmark.net.transport import HTTPTransport, Response
from support.front import WORKER, RunningFront, failed_front, running_front
from support.tls_files import Identity, TLSFiles

PATIENCE_S = 15.0


@pytest.fixture(scope="module")
def front(files: TLSFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFront]:
    with running_front(files, tmp_path_factory.mktemp("front"), workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def rig(files: TLSFiles) -> Identity:
    return files.rig()


def context(files: TLSFiles, who: Identity | None = None) -> ssl.SSLContext:
    return tls.client_context(files.trust, *((who.certificate, who.key) if who else ()))


def ask(running: RunningFront, client: ssl.SSLContext, path: str = "/", **request: object) -> Response:
    transport = HTTPTransport(running.url, client)
    try:
        method = "POST" if "body" in request else "GET"
        return transport.request(method, path, **request)  # type: ignore[arg-type] # headers and body
    finally:
        transport.close()


def seen(answer: Response) -> dict[str, object]:
    assert answer.status == 200, answer
    told: dict[str, object] = json.loads(answer.body)
    return told


@contextmanager
def connected(running: RunningFront, client: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", running.port), timeout=10) as plain,
        client.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        yield secured


def ended(link: socket.socket) -> bool:
    """Tell whether the server has closed the connection, waiting for it."""
    try:
        while link.recv(65_536):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    return True


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- who is there


def test_a_client_without_a_certificate_is_nobody(front: RunningFront, files: TLSFiles) -> None:
    told = seen(ask(front, context(files)))
    assert (told["leaf"], told["chain"]) == (None, [])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_is_known_by_its_leaf_and_the_chain_that_it_sent(
    front: RunningFront, files: TLSFiles, rig: Identity, version: ssl.TLSVersion
) -> None:
    client = context(files, rig)
    client.maximum_version = version
    told = seen(ask(front, client))
    sent = [ssl.PEM_cert_to_DER_cert(f"{part}{END}") for part in rig.certificate.read_text().split(END)[:-1]]
    assert told["leaf"] == rig.der.hex()
    assert told["chain"] == [each.hex() for each in sent]


END = "-----END CERTIFICATE-----\n"

FORGED = [
    ("x-forwarded-client-cert", 'Hash=00;Cert="x";Chain="x"'),
    ("X-Forwarded-Client-Cert", ""),
    ("client-cert", ":AAAA:"),
    ("client-cert-chain", ":AAAA:"),
    ("x-ssl-client-cert", "AAAA"),
    ("x-client-cert", "AAAA"),
    ("forwarded", "for=10.0.0.1"),
    ("x-forwarded-for", "10.0.0.1"),
]


@pytest.mark.parametrize(("name", "value"), FORGED)
def test_no_header_makes_somebody_of_nobody(front: RunningFront, files: TLSFiles, name: str, value: str) -> None:
    assert seen(ask(front, context(files), headers={name: value}))["leaf"] is None


def test_the_good_header_of_a_rig_makes_no_rig_of_nobody(front: RunningFront, files: TLSFiles, rig: Identity) -> None:
    good = f'Hash={"a" * 64};Chain="{rig.certificate.read_text()}"'.replace("\n", "%0A").replace(" ", "%20")
    assert seen(ask(front, context(files), headers={"x-forwarded-client-cert": good}))["leaf"] is None


def test_a_forged_header_beside_a_certificate_is_gone(front: RunningFront, files: TLSFiles, rig: Identity) -> None:
    told = seen(ask(front, context(files, rig), headers={"x-forwarded-client-cert": "Hash=00"}))
    assert told["leaf"] == rig.der.hex()


def test_the_application_never_sees_the_header(front: RunningFront, files: TLSFiles, rig: Identity) -> None:
    headers = seen(ask(front, context(files, rig)))["headers"]
    assert isinstance(headers, list)
    assert "x-forwarded-client-cert" not in headers


def test_two_clients_on_one_worker_are_kept_apart(front: RunningFront, files: TLSFiles, rig: Identity) -> None:
    other = files.rig("rig-b")
    for _ in range(4):
        for who in (rig, None, other):
            told = seen(ask(front, context(files, who)))
            assert told["leaf"] == (who.der.hex() if who else None)


def test_a_certificate_of_strangers_ends_the_handshake_and_leaves_a_line(
    front: RunningFront, files: TLSFiles, strangers: TLSFiles
) -> None:
    with pytest.raises(TLSRefused) as refused:
        ask(front, context(files, strangers.rig()))
    assert refused.value.finding == "tls.unknown-ca"
    eventually(lambda: "tls.handshake-refused" in front.log.read_text())


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_older_versions_of_tls_are_refused(front: RunningFront, version: str) -> None:
    done = openssl_client(front, version, "-cipher", "ALL:@SECLEVEL=0")
    assert "alert protocol version" in done.stderr


@pytest.mark.parametrize("cipher", ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256"])
def test_tls_1_2_without_forward_secrecy_or_aead_is_refused(front: RunningFront, cipher: str) -> None:
    done = openssl_client(front, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert "handshake failure" in done.stderr


@pytest.mark.parametrize("group", ["X25519", "P-256", "P-384"])
def test_the_usual_groups_are_accepted(front: RunningFront, group: str) -> None:
    done = openssl_client(front, "-groups", group)
    assert "New, TLSv1.3" in done.stdout


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_no_session_can_be_resumed(front: RunningFront, version: str) -> None:
    done = openssl_client(front, version, "-reconnect")
    assert "Reused" not in done.stdout
    assert "New, TLSv1" in done.stdout


def openssl_client(front: RunningFront, *options: str) -> "subprocess.CompletedProcess[str]":
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{front.port}", *options]
    return subprocess.run(command, input="", capture_output=True, text=True, check=False, timeout=20)


# --- what a client can hold open


def test_a_body_at_the_limit_arrives_and_one_above_is_413(front: RunningFront, files: TLSFiles) -> None:
    most = description.BODY_MAX_BYTES
    assert seen(ask(front, context(files), body=b"x" * most))["length"] == most
    answer = ask(front, context(files), body=b"x" * (most + 1))
    assert answer.status == 413
    assert answer.body.startswith(b"net.body-too-large: ")


def test_a_head_that_is_too_long_is_431(front: RunningFront, files: TLSFiles) -> None:
    answer = ask(front, context(files), headers={"x": "a" * asgi.HEAD_MAX_BYTES})
    assert answer.status == 431
    assert answer.body.startswith(b"net.head-too-large: ")


def test_what_is_not_http_is_answered_with_400(front: RunningFront, files: TLSFiles) -> None:
    with connected(front, context(files)) as link:
        link.sendall(b"\x00\x01\x02 no http\r\n\r\n")
        assert link.recv(12) == b"HTTP/1.1 400"


def test_an_endless_line_is_cut_off(front: RunningFront, files: TLSFiles) -> None:
    with connected(front, context(files)) as link:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            link.sendall(b"GET /" + b"a" * 20_000_000)
        assert ended(link)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET / HTTP/1.1\r\nx: ", id="a head"),
        pytest.param(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc", id="a body"),
    ],
)
def test_a_client_that_does_not_finish_its_request_is_let_go_and_costs_no_worker_anything(
    files: TLSFiles, tmp_path: Path, sent: bytes
) -> None:
    with (
        running_front(files, tmp_path, HEAD_TIME_S=0.5, BODY_TIME_S=0.5) as running,
        connected(running, context(files)) as slow,
    ):
        slow.sendall(sent)
        assert seen(ask(running, context(files)))["length"] == 0
        assert slow.recv(12) == b"HTTP/1.1 408"
        assert ended(slow)


def test_a_client_that_does_not_finish_its_handshake_is_let_go(files: TLSFiles, tmp_path: Path) -> None:
    with running_front(files, tmp_path, HANDSHAKE_TIME_S=0.5) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as silent:
            assert ended(silent)
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as slow:
            slow.sendall(b"\x16\x03\x01\x02\x00\x01")
            assert ended(slow)


def test_an_idle_connection_is_closed(files: TLSFiles, tmp_path: Path) -> None:
    with (
        running_front(files, tmp_path, KEEP_ALIVE_S=0.5) as running,
        connected(running, context(files)) as idle,
    ):
        assert ended(idle)


def test_connections_beyond_the_limit_are_closed(files: TLSFiles, tmp_path: Path) -> None:
    with running_front(files, tmp_path, MAX_CONNECTIONS=2) as running:
        client = context(files)
        with connected(running, client), connected(running, client):
            assert not _accepts(running, client)
        eventually(lambda: _accepts(running, client))


def _accepts(running: RunningFront, client: ssl.SSLContext) -> bool:
    try:
        with connected(running, client):
            return True
    except OSError:
        return False


# --- headers


def test_names_of_headers_are_in_proper_case_for_clients_that_compare_them_so(
    front: RunningFront, files: TLSFiles
) -> None:
    with connected(front, context(files)) as link:
        link.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        head = link.recv(65_536).partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
    assert {b"Content-Length", b"Content-Type", b"Date"} == set(names)


# --- answers of every kind


def test_an_answer_without_a_length_arrives_whole(front: RunningFront, files: TLSFiles) -> None:
    transport = HTTPTransport(front.url, context(files))
    assert transport.request("GET", "/stream").body == b"x" * 2_000_000
    assert seen(transport.request("GET", "/"))["length"] == 0
    transport.close()


def test_an_answer_to_head_has_no_body(front: RunningFront, files: TLSFiles) -> None:
    transport = HTTPTransport(front.url, context(files))
    answer = transport.request("HEAD", "/")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 0
    assert seen(transport.request("GET", "/"))["length"] == 0
    transport.close()


def test_an_answer_may_be_nothing(front: RunningFront, files: TLSFiles) -> None:
    transport = HTTPTransport(front.url, context(files))
    assert transport.request("GET", "/nothing").status == 204
    assert seen(transport.request("GET", "/"))["length"] == 0
    transport.close()


def test_an_application_that_fails_is_500(files: TLSFiles, tmp_path: Path) -> None:
    with running_front(files, tmp_path) as running:
        assert ask(running, context(files), "/fail").status == 500
        assert seen(ask(running, context(files)))
        assert "Exception in ASGI application" in running.log.read_text()


def test_an_answer_that_breaks_off_is_no_answer(files: TLSFiles, tmp_path: Path) -> None:
    with running_front(files, tmp_path) as running, pytest.raises(Unreachable):
        ask(running, context(files), "/fail-late")


def test_an_application_learns_that_its_client_has_left(front: RunningFront, files: TLSFiles, tmp_path: Path) -> None:
    mark = tmp_path / "left"
    with connected(front, context(files)) as link:
        body = str(mark).encode()
        link.sendall(b"POST /left HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        time.sleep(0.2)
    eventually(mark.exists)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a%20b", "/a b", ""),
        ("/a%2Fb?c=%20d", "/a/b", "c=%20d"),
        ("/../a//b/./c", "/../a//b/./c", ""),
        ("/%C3%A4", "/ä", ""),
        ("/%FF", "/\N{REPLACEMENT CHARACTER}", ""),
    ],
)
def test_a_target_arrives_as_it_was_sent(
    front: RunningFront, files: TLSFiles, target: str, path: str, query: str
) -> None:
    with connected(front, context(files)) as link:
        link.sendall(f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: link.recv(65_536), b""))
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (told["path"], told["query"]) == (path, query)


# --- a worker without its front


@contextmanager
def worker_alone(folder: Path) -> Iterator[socket.socket]:
    """Run a worker and connect to it as the front would."""
    private, program = folder / "private", folder / "worker.py"
    private.mkdir(0o700)
    program.write_text(WORKER)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as link:
        listener.bind(str(private / "worker"))
        listener.listen()
        command = [sys.executable, str(program), str(listener.fileno())]
        with subprocess.Popen(command, pass_fds=(listener.fileno(),), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            link.settimeout(PATIENCE_S)
            link.connect(str(private / "worker"))
            yield link
            process.terminate()


HEADER = b"x-forwarded-client-cert: Hash=00\r\n"


@pytest.mark.parametrize("headers", [HEADER, 2 * HEADER], ids=["of another form", "two of them"])
def test_an_identity_that_envoy_would_not_write_is_refused(tmp_path: Path, headers: bytes) -> None:
    with worker_alone(tmp_path) as link:
        link.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n" + headers + b"\r\n")
        assert link.recv(12) == b"HTTP/1.1 400"


# --- processes that die


def test_a_worker_that_dies_is_replaced_and_no_repeatable_request_is_lost(files: TLSFiles, tmp_path: Path) -> None:
    client = context(files)
    with running_front(files, tmp_path) as running:
        first = seen(ask(running, client))["pid"]
        mark = str(tmp_path / "died").encode()
        told = seen(ask(running, client, "/repeatable/die-once", body=mark))
        assert told["pid"] != first
        assert seen(ask(running, client))["pid"] == told["pid"]
        assert "net.front.worker-ended: worker 0 (killed by SIGKILL)" in running.log.read_text()


def test_a_request_that_may_not_be_repeated_is_answered_with_503_when_its_worker_dies(
    files: TLSFiles, tmp_path: Path
) -> None:
    client = context(files)
    with running_front(files, tmp_path) as running:
        answer = ask(running, client, "/once/die", body=b"")
        assert answer.status == 503
        assert answer.headers["retry-after"] == "2"
        assert answer.body.startswith(b"net.front.busy: ")
        assert seen(ask(running, client))


def test_a_kept_connection_outlives_its_worker(files: TLSFiles, tmp_path: Path) -> None:
    with running_front(files, tmp_path) as running:
        transport = HTTPTransport(running.url, context(files))
        first = seen(transport.request("GET", "/"))["pid"]
        assert isinstance(first, int)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: "net.front.worker-ended" in running.log.read_text())
        second = seen(transport.request("GET", "/repeatable"))["pid"]
        transport.close()
    assert second != first


def test_requests_are_spread_over_the_workers(front: RunningFront, files: TLSFiles) -> None:
    client = context(files)
    with ThreadPoolExecutor(16) as pool:
        pids = {seen(answer)["pid"] for answer in pool.map(lambda _: ask(front, client, "/slow"), range(16))}
    assert pids == set(front.children("worker.py"))
    assert len(pids) == 2


def test_the_service_ends_with_a_clear_error_when_the_front_dies(files: TLSFiles, tmp_path: Path) -> None:
    with running_front(files, tmp_path) as running:
        (envoy,) = running.children("envoy.json")
        (worker,) = running.children("worker.py")
        os.kill(envoy, signal.SIGKILL)
        assert running.process.wait(PATIENCE_S) != 0
        assert "Envoy has ended (killed by SIGKILL)" in running.log.read_text()
        assert not Path(f"/proc/{worker}").exists()


def test_nothing_outlives_a_service_that_is_killed(files: TLSFiles, tmp_path: Path) -> None:
    with running_front(files, tmp_path) as running:
        left = [*running.children("envoy.json"), *running.children("worker.py")]
        assert len(left) == 2
        running.process.kill()
        running.process.wait()
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))


# --- start and stop


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_running_requests_are_finished_before_the_service_ends(
    files: TLSFiles, tmp_path: Path, end: signal.Signals
) -> None:
    client = context(files)
    with running_front(files, tmp_path, workers=2) as running, ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(ask, running, client, "/slow") for _ in range(2)]
        time.sleep(0.4)
        running.process.send_signal(end)
        assert all(seen(answer.result()) for answer in answers)
        assert running.process.wait(PATIENCE_S) == 0
    assert running.log.read_text() == ""
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_is_shared_with_the_front_is_open_to_nobody_else(files: TLSFiles, tmp_path: Path) -> None:
    with running_front(files, tmp_path):
        (folder,) = (tmp_path / "tmp").iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700


def test_an_occupied_port_is_one_clear_error(files: TLSFiles, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} is in use by another program" in failed_front(files, tmp_path, port=port)


def test_a_second_front_does_not_share_the_port_of_the_first(
    files: TLSFiles, tmp_path: Path, front: RunningFront
) -> None:
    assert "is in use by another program" in failed_front(files, tmp_path, port=front.port)


def test_a_worker_that_does_not_start_is_one_clear_error(files: TLSFiles, tmp_path: Path) -> None:
    log = failed_front(files, tmp_path, workers=2, worker="import sys; sys.exit('no key')")
    assert "no key" in log
    assert "worker 0 did not start (exit code 1)" in log


def test_an_envoy_that_does_not_start_is_one_clear_error(tmp_path: Path, files: TLSFiles) -> None:
    nobody = TLSFiles(tmp_path, files.at)
    nobody.trust = b"no certificate"
    log = failed_front(nobody, tmp_path)
    assert "Envoy did not take" in log
    assert "client-trust.pem" in log

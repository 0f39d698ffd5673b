# SPDX-License-Identifier: Apache-2.0
"""A service behind a real Envoy, in processes of its own."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.tls_files import TLSFiles

STOP_TIME_S = 15

SERVICE = """
import json, logging, sys
from pathlib import Path
from birthmark.net import asgi
from birthmark.net.front import description, envoy, supervisor

certificate, key, trust = map(Path, sys.argv[1:4])
workers, port, limits = int(sys.argv[4]), int(sys.argv[5]), json.loads(sys.argv[6])
for module in (asgi, description):
    for name, value in limits.items():
        if hasattr(module, name):
            setattr(module, name, value)
logging.basicConfig(level=logging.INFO)
front = description.FrontDescription("127.0.0.1", port, certificate, key, trust, workers, ("/repeatable",))
worker = Path(sys.argv[7])
supervisor.serve_front(front, lambda descriptor: [sys.executable, str(worker), str(descriptor)])
"""

WORKER = r'''
"""Says in JSON who asked, which worker answered, and what it was asked."""
import asyncio, json, os, socket, sys
from birthmark.net import asgi
from birthmark.net.front.worker import serve_worker

async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    who = asgi.peer(scope)
    body = await asgi.read_body(receive, 1 << 20)
    if scope["path"].endswith("/slow"):
        await asyncio.sleep(1)
    if scope["path"].endswith("/die-once") and not os.path.exists(body.decode()):
        open(body, "w").close()
        os.kill(os.getpid(), 9)
    if scope["path"].endswith("/die"):
        os.kill(os.getpid(), 9)
    if scope["path"] == "/fail":
        raise RuntimeError("as told")
    if scope["path"] in ("/stream", "/fail-late"):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(20):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            if scope["path"] == "/fail-late":
                raise RuntimeError("as told")
        await send({"type": "http.response.body"})
        return
    if scope["path"] == "/nothing":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    if scope["path"] == "/left":
        assert (await receive())["type"] == "http.disconnect"
        open(body.decode(), "w").close()
        return
    seen = {
        "leaf": who.leaf and who.leaf.hex(),
        "chain": [each.hex() for each in who.chain],
        "headers": [name.decode() for name, _ in scope["headers"]],
        "pid": os.getpid(),
        "length": len(body),
        "path": scope["path"],
        "query": scope["query_string"].decode(),
    }
    answer = json.dumps(seen).encode()
    headers = [(b"content-length", b"%d" % len(answer)), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})

serve_worker(application, socket.socket(fileno=int(sys.argv[1])), asgi.announce)
'''


@dataclass
class RunningFront:
    url: str
    process: "subprocess.Popen[str]"
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def children(self, program: str) -> list[int]:
        """Return the process ids of the service's children whose command holds the word."""
        return children_of(self.process.pid, program)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIME_S)


def children_of(pid: int, program: str) -> list[int]:
    """Return the process ids of a process's children whose command holds the word."""
    found = []
    for task in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(task.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            command = task.joinpath("cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
        if parent == pid and program in command:
            found.append(int(task.name))
    return found


def start_front(
    files: TLSFiles, folder: Path, *, workers: int = 1, port: int = 0, worker: str = WORKER, **limits: float
) -> "subprocess.Popen[str]":
    """Start the service; its log goes to `folder/log`."""
    identity, trust, program = files.server(), folder / "client-trust.pem", folder / "worker.py"
    trust.write_bytes(files.trust)
    program.write_text(worker)
    names = map(str, (identity.certificate, identity.key, trust))
    command = [sys.executable, "-c", SERVICE, *names, str(workers), str(port), json.dumps(limits), str(program)]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment(folder))


@contextmanager
def running_front(files: TLSFiles, folder: Path, *, workers: int = 1, **limits: float) -> Iterator[RunningFront]:
    """Start the service, wait for its line, and end it with SIGTERM if it still runs: it must end well."""
    process = start_front(files, folder, workers=workers, **limits)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (folder / "log").read_text()
    running = RunningFront(json.loads(line)["ready"], process, folder / "log")
    try:
        yield running
    finally:
        if process.poll() is None:
            assert running.end() == 0, running.log.read_text()
        process.stdout.close()


def failed_front(files: TLSFiles, folder: Path, *, workers: int = 1, port: int = 0, worker: str = WORKER) -> str:
    """Start a service that cannot start, and return its log."""
    with start_front(files, folder, workers=workers, port=port, worker=worker) as process:
        assert process.communicate(timeout=STOP_TIME_S)[0] == ""
    assert process.returncode != 0
    return (folder / "log").read_text()


def _environment(folder: Path) -> dict[str, str]:
    # Whatever the service leaves behind is found through the test's own folder. The path itself is short, for a Unix
    # socket's may have 107 characters.
    temporary, own = tempfile.mkdtemp(prefix="birthmark-", dir="/tmp"), folder / "tmp"
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    own.unlink(missing_ok=True)
    own.symlink_to(temporary)
    return {**os.environ, "TMPDIR": temporary}

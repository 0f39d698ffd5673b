# SPDX-License-Identifier: Apache-2.0
"""
A private RabbitMQ for one test session: its own Erlang node, name server and folder, on free loopback ports.

Debian's 3.10 with the plugins for AMQP 1.0 and for client certificates. Nothing of the system's service is used.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pika
from pika.adapters.blocking_connection import BlockingChannel

from support.ports import lasting_ports

START_TIMEOUT_S = 60
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
USER, PASSWORD = "line", "a password of no use elsewhere"
LOW_LIMIT_BYTES = 65_536
"""What the broker takes as one message: small, so that a test can send more."""
_READY = "Server startup complete"


@dataclass
class TLSFiles:
    """What the broker shows to its clients, and whom it believes."""

    trust: Path
    certificate: Path
    key: Path


@dataclass
class RabbitMQ:
    """One broker. It can be killed, started again in place, and stopped where it stands."""

    folder: Path
    tls: TLSFiles | None = None
    certificate_users: tuple[str, ...] = ()
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port, self.tls_port, self.unused_port, self._distribution_port, self._names_port = lasting_ports(5)
        self._home = self.folder / "home"
        self._home.mkdir()
        self._log = self.folder / "log"
        plugins = "[rabbitmq_amqp1_0, rabbitmq_auth_mechanism_ssl]."
        (self.folder / "plugins").write_text(plugins)
        (self.folder / "definitions.json").write_text(json.dumps(_definitions((USER, *self.certificate_users))))
        (self.folder / "rabbitmq.conf").write_text("\n".join(self._settings()))
        # The distribution, too, on loopback alone.
        (self.folder / "advanced.config").write_text("[{kernel, [{inet_dist_use_interface, {127,0,0,1}}]}].")

    def _settings(self) -> Iterator[str]:
        yield f"listeners.tcp.1 = 127.0.0.1:{self.port}"
        yield f"load_definitions = {self.folder}/definitions.json"
        yield f"max_message_size = {LOW_LIMIT_BYTES}"
        yield "log.console = true"
        yield "log.console.level = info"
        yield "log.file = false"
        yield "auth_mechanisms.1 = PLAIN"
        yield "auth_mechanisms.2 = EXTERNAL"
        if self.tls is not None:
            yield f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}"
            yield f"ssl_options.cacertfile = {self.tls.trust}"
            yield f"ssl_options.certfile = {self.tls.certificate}"
            yield f"ssl_options.keyfile = {self.tls.key}"
            yield "ssl_options.verify = verify_peer"
            yield "ssl_options.fail_if_no_peer_cert = false"
            yield "ssl_cert_login_from = common_name"

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "HOME": str(self._home),  # the Erlang cookie is made there
            "RABBITMQ_NODENAME": f"birthmark-{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def start(self) -> None:
        # In the foreground: the one that Erlang would start for itself stays behind as a daemon.
        names = ["epmd", "-port", str(self._names_port), "-address", "127.0.0.1"]
        self._processes.append(subprocess.Popen(names, env=self._environment()))
        with self._log.open("wb") as log:
            server = subprocess.Popen(
                [PROGRAMS / "rabbitmq-server"],
                env=self._environment(),
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(server)
        deadline = time.monotonic() + START_TIMEOUT_S
        while _READY not in self._log.read_text(errors="replace"):
            assert server.poll() is None, self._log.read_text(errors="replace")
            assert time.monotonic() < deadline, self._log.read_text(errors="replace")
            time.sleep(0.05)

    def kill(self) -> None:
        """End the broker as a power cut does."""
        names, server = self._processes
        os.killpg(server.pid, signal.SIGKILL)
        names.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()

    def suspend(self) -> None:
        """Let it stand still: it reads nothing and confirms nothing, and its connections stay open."""
        os.killpg(self._processes[1].pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.killpg(self._processes[1].pid, signal.SIGCONT)

    @contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        """Give a channel of AMQP 0-9-1, through a client that has nothing in common with ours."""
        credentials = pika.PlainCredentials(USER, PASSWORD)
        with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, "/", credentials)) as connection:
            yield connection.channel()


def _definitions(users: tuple[str, ...]) -> dict[str, object]:
    everything = {"vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    return {
        "vhosts": [{"name": "/"}],
        "users": [
            {
                "name": user,
                "password_hash": _password_hash(),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": ["administrator"],
            }
            for user in users
        ],
        "permissions": [{"user": user} | everything for user in users],
    }


def _password_hash() -> str:
    salt = b"salt"
    return b64encode(salt + hashlib.sha256(salt + PASSWORD.encode()).digest()).decode()


@contextmanager
def rabbitmq(tls: TLSFiles | None = None, certificate_users: tuple[str, ...] = ()) -> Iterator[RabbitMQ]:
    folder = Path(tempfile.mkdtemp(prefix="birthmark-mq-"))
    try:
        broker = RabbitMQ(folder, tls, certificate_users)
        broker.start()
        try:
            yield broker
        finally:
            broker.kill()
    finally:
        shutil.rmtree(folder)

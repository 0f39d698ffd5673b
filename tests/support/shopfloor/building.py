# SPDX-License-Identifier: Apache-2.0
"""
A factory: a CA with two workers over PostgreSQL whose keys are in an HSM, two rigs with one store of units, three MES.

It stands on a lab (its people, its ceremony, its maker) and on processes that can be killed one by one.
"""

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from birthmark.stores import ca_postgres
from birthmark.testing.lab import softhsm
from birthmark.testing.lab.ceremony import offline_authority
from birthmark.testing.lab.errors import LabError
from birthmark.testing.lab.files import Order
from birthmark.testing.lab.officers import open_orders
from birthmark.testing.lab.processes import LabProcess, await_ready, is_running, python, start, stop
from birthmark.testing.lab.record import RIGS, Lab
from birthmark.testing.lab.softhsm import CLIENT_MODULE, MODULE, TokenServer
from birthmark.testing.lab.start import lab_down, lab_up
from support.postgres import PostgreSQL, postgresql
from support.shopfloor.boards import Link, Place, Supplier
from support.shopfloor.magazine import Magazine
from support.tls_files import TLSFiles, write_key
from support.webhook_receiver import WebhookMES, webhook_mes

ORDER = "order-campaign"
QUANTITY = 100_000
PLACES = (*[Link.DIRECT] * 7, Link.SMP)
WORKERS = ("ca", "ca-2")
START_S = 60.0
RECIPE = """product = "controller-x1"
order = "{order}"
takt_s = 2.0

[power]
minimum_v = 4.75
cycle = true
off_s = 0.01

[[retry]]
finding = "chip.communication"
times = 1
"""


@dataclass
class Worker:
    """One process of the CA. Its port stays."""

    home: Path
    name: str
    process: LabProcess | None = None
    url: str = ""

    @property
    def config(self) -> Path:
        return self.home / f"{self.name}.toml"

    def start(self) -> None:
        """Start it, again and again while its token or its database is away."""
        deadline = time.monotonic() + START_S
        while True:
            command = python("birthmark.cli", "ca", "serve", "--config", str(self.config))
            self.process = start(self.name, command, self.home / "logs", softhsm.environment(self.home))
            try:
                self.url = await_ready(self.process, self.home / "logs")["ready"]
            except LabError:
                stop([self.process])
                if time.monotonic() > deadline:
                    raise
            else:
                text = self.config.read_text()
                self.config.write_text(re.sub(r"(?m)^port = .*$", f"port = {self.url.rpartition(':')[2]}", text))
                return

    def kill(self) -> None:
        """End it as a power cut does."""
        if self.process is not None:
            os.kill(self.process.pid, 9)
            while is_running(self.process):
                time.sleep(0.002)

    def end(self) -> None:
        if self.process is not None:
            stop([self.process])


@dataclass
class Factory:
    """Everything that stands, and where it is."""

    home: Path
    lab: Lab
    cluster: PostgreSQL
    hsm: TokenServer
    workers: tuple[Worker, ...]
    webhook: WebhookMES
    supplier: Supplier
    mes_database: str
    rig_configs: dict[str, Path] = field(default_factory=dict)

    @property
    def mes_folder(self) -> Path:
        return self.home / "mes"

    def places(self, rig: str) -> tuple[Place, ...]:
        return tuple(Place(self.home / "fixture", rig, number, link) for number, link in enumerate(PLACES, 1))


@contextmanager
def factory(latency: str) -> Iterator[Factory]:
    """Build it, and take it down again. SOFTHSM2_CONF and P11_KIT_SERVER_ADDRESS name its token meanwhile."""
    # Not below pytest's folder: the names of Unix sockets are short.
    home = Path(tempfile.mkdtemp(prefix="birthmark-f-"))
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.callback(shutil.rmtree, home)
        patch.setenv("SOFTHSM2_CONF", "set by the lab, and unset afterwards")
        lab = lab_up(home / "lab", boards=0, chip="none", hsm=True)
        stack.callback(lab_down, home / "lab")
        lab_down(home / "lab")  # its files are what is wanted: the CA is to be another one
        yield stack.enter_context(_built(lab, home, patch, latency))


@contextmanager
def _built(lab: Lab, home: Path, patch: pytest.MonkeyPatch, latency: str) -> Iterator[Factory]:
    with ExitStack() as stack:
        cluster = stack.enter_context(postgresql())
        hsm = TokenServer(lab.path / "hsm", softhsm.environment(lab.path))
        for name, value in hsm.client_environment.items():
            patch.setenv(name, value)
        hsm.start()
        stack.callback(hsm.stop)
        workers = _workers(lab, cluster.new_database())
        for worker in workers:
            worker.start()
            stack.callback(worker.end)
        order = lab.path / "orders" / f"{ORDER}.toml"
        order.write_text(Order(ORDER, quantity=QUANTITY).toml(datetime.now(UTC)))
        open_orders(lab.path, workers[0].url, [order])
        magazine = stack.enter_context(Magazine(_folder(home, "chips")))
        supplier = Supplier(home / "boards", magazine, offline_authority(lab.path, "ak_ca"), latency)
        webhook = stack.enter_context(webhook_mes(_webhook_folder(home)))
        made = Factory(home, lab, cluster, hsm, workers, webhook, supplier, cluster.new_database())
        _write_rigs(made)
        yield made


def _workers(lab: Lab, dsn: str) -> tuple[Worker, ...]:
    """Write the CA's files anew: its ledger in PostgreSQL, its keys behind p11-kit's server."""
    ca_postgres.migrate(dsn)
    write_key(lab.path / "ledger.dsn", dsn.encode())
    text = Path(lab.ca_config).read_text()
    text = text.replace('database = "data/ca.sqlite"', 'database_dsn_file = "ledger.dsn"')
    # p11-kit's client knows no Ed25519, which the log is signed with: that key stays where SoftHSM itself finds it.
    text = re.sub(rf'module = "{MODULE}"(.*label = "(issuing|ocsp)")', rf'module = "{CLIENT_MODULE}"\1', text)
    text = re.sub(r"(?m)^port = .*$", "port = 0", text)
    workers = tuple(Worker(lab.path, name) for name in WORKERS)
    for worker in workers:
        worker.config.write_text(text)
    return workers


def _webhook_folder(home: Path) -> Path:
    folder = _folder(home, "webhook")
    files = TLSFiles(folder, datetime.now(UTC))
    files.server()
    (folder / "trust.pem").write_bytes(files.trust)
    write_key(folder / "secret", secrets.token_hex(32).encode())
    return folder


def _write_rigs(made: Factory) -> None:
    _folder(made.home, "mes")
    _folder(made.home, "fixture")
    write_key(made.lab.path / "mes.dsn", made.mes_database.encode())
    write_key(made.lab.path / "units.dsn", made.cluster.new_database().encode())
    (made.lab.path / "recipe.toml").write_text(RECIPE.format(order=ORDER))
    for rig, worker, policy in zip(RIGS, made.workers, ("hold-flags", "stop"), strict=True):
        for place in made.places(rig):
            place.rail.mkdir()
        made.rig_configs[rig] = _write_rig(made, rig, worker, policy)


def _write_rig(made: Factory, rig: str, worker: Worker, policy: str) -> Path:
    """Write a rig.toml. The line of rig-a goes on while the MES is behind, that of rig-b stops."""
    path = Path(made.lab.rig_configs[rig])
    kept, _, people = path.read_text().partition("\n[[people]]")
    lines = [line for line in kept.splitlines() if not line.startswith(("ca_url", "units_database", "mes_file"))]
    own = f"""ca_url = "{worker.url}"
units_dsn_file = "units.dsn"
mes_file = "{made.mes_folder}/events.jsonl"
mes_postgres_dsn_file = "mes.dsn"
mes_policy = "{policy}"
mes_waiting_limit = 60
deliver_retry_s = 0.2
hold_retry_s = 0.2
"""
    webhook = f"""
[mes_webhook]
url = "{made.webhook.url}"
trust = "{made.webhook.folder}/trust.pem"
key_file = "{made.webhook.folder}/secret"
timeout_s = 5.0

[power]
kind = "simulated"
address = "{made.home}/fixture"
"""
    fixture = "".join(place.toml for place in made.places(rig))
    path.write_text("\n".join((*lines, own, webhook, f"[[people]]{people}", fixture)))
    return path


def _folder(home: Path, name: str) -> Path:
    folder = home / name
    folder.mkdir()
    return folder

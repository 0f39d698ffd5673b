# SPDX-License-Identifier: Apache-2.0
"""A real CA process on loopback, from files, and the rigs and devices that speak mutual TLS with it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.ca.config import load_config
from birthmark.ca.orders.documents import order_of, read_order
from birthmark.ca.wiring import configured_store
from birthmark.core.issuance import Order
from birthmark.est.client import ESTClient
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import Authority, make_rig, make_sub_ca, make_tls_server
from birthmark.pki.keys.software import generate, save_encrypted
from birthmark.testing.forge import APDU, ORGANIZATION, PRODUCT, TPM, Forge, Model, new_key
from birthmark.testing.orders import put_signed_order
from support.ca_parts import AUTHORITY, Board
from support.tls_files import key_pem, pem, write_key

ORDER = "order-1"
PROGRAM = "import sys; from pathlib import Path; from birthmark.ca.wiring import serve; serve(Path(sys.argv[1]))"
PASSPHRASE = b"only for this test"
STOP_TIME_S = 10


class CAFiles:
    """All files of one CA, in one folder. `made` are its root, issuing and operations CA, if it has them already."""

    def __init__(self, folder: Path, made: tuple[Authority, Authority, Authority] | None = None) -> None:
        self.folder = folder
        self.now = datetime.now(UTC)
        self.forge = Forge.at(self.now)
        self.operations = make_sub_ca(self.forge.root, f"{ORGANIZATION} operations CA", new_key(), self.now)
        if made is not None:
            root, issuing, self.operations = made
            self.forge = replace(self.forge, root=root, issuing=issuing)
        self.config = folder / "ca.toml"
        self._write_pki()
        self._write_texts()
        self.put_order(self.order)

    @property
    def order(self) -> Order:
        """The order in order.toml, approved."""
        order = order_of(*read_order(self.folder / "order.toml"))
        return replace(order, approved_at=self.now)

    def put_order(self, order: Order) -> None:
        """Put an order that two persons have signed into the ledger."""
        with configured_store(load_config(self.config), self.folder) as store:
            put_signed_order(store, self.operations, order, self.now, AUTHORITY)

    def board(self, unit: str, model: Model = APDU) -> Board:
        return Board(unit, self.forge.maker.chip(model))

    def identity(self, name: str, key: ec.EllipticCurvePrivateKey, *chain: x509.Certificate) -> tuple[Path, Path]:
        """Write a certificate with its chain, and its key, and return where they are."""
        certificate, secret = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(pem(*chain))
        write_key(secret, key_pem(key))
        return certificate, secret

    def _write_pki(self) -> None:
        issuing, root = self.forge.issuing, self.forge.root.certificate
        write = self.folder.joinpath
        write("root.pem").write_bytes(pem(root))
        write("trust.pem").write_bytes(pem(root, self.operations.certificate, issuing.certificate))
        write("chain.pem").write_bytes(pem(issuing.certificate, root))
        write("issuing.pem").write_bytes(pem(issuing.certificate))
        write("maker.pem").write_bytes(self.forge.maker.trust_pem)
        write("passphrase").write_bytes(PASSPHRASE + b"\n")
        write("passphrase").chmod(0o600)
        save_encrypted(write("issuing.key"), issuing.key, PASSPHRASE)
        save_encrypted(write("log.key"), generate(KeyAlgorithm.ED25519), PASSPHRASE)
        server = new_key()
        certificate = make_tls_server(self.operations, server.public_key(), self.now)
        self.identity("server", server, certificate, self.operations.certificate)
        for rig in ("rig-a", "rig-b"):
            key = new_key()
            self.identity(rig, key, make_rig(self.operations, rig, key.public_key(), self.now))

    def _write_texts(self) -> None:
        models = "".join(
            f'[[model]]\nid = "{model.id}"\nhw_type = "{model.hw_type.dotted_string}"\n'
            f'maker = "{self.forge.maker.name}"\ncertification = "none"\n'
            f'statement_types = ["{model.statement_type.dotted_string}"]\n'
            for model in (APDU, TPM)
        )
        maker = f'[[maker]]\nname = "{self.forge.maker.name}"\ntrust = "maker.pem"\n'
        self.folder.joinpath("endorsements.toml").write_text(maker + models)
        begin, end = (self.now + timedelta(days=days) for days in (-1, 30))
        self.folder.joinpath("order.toml").write_text(
            f'id = "{ORDER}"\nproduct = "{PRODUCT}"\nquantity = 100\nchip_models = ["{APDU.id}", "{TPM.id}"]\n'
            f'rigs = ["rig-a", "rig-b"]\nfirst_unit = "BM-000000"\nlast_unit = "BM-999999"\nprofile = "device-p256"\n'
            f"not_before = {begin.isoformat()}\nnot_after = {end.isoformat()}\n"
        )
        self.config.write_text(CA_TOML)


CA_TOML = f"""
tls_certificate = "server.pem"
tls_key = "server.key"
client_trust = "trust.pem"
ca_chain = "chain.pem"
issuing_certificate = "issuing.pem"
organization = "{ORGANIZATION}"

[issuing_key]
kind = "software"
file = "issuing.key"
passphrase_file = "passphrase"

[log]
origin = "{AUTHORITY}"
key = {{ kind = "software", file = "log.key", passphrase_file = "passphrase" }}

[[profile]]
name = "device-p256"
algorithms = ["P-256"]
last_issue = 2035-12-31
"""


FRONT = '\n[front]\nkind = "envoy"\nworkers = 2\n'


class RunningCA:
    """A CA that listens."""

    def __init__(self, files: CAFiles, url: str, process: "subprocess.Popen[str]") -> None:
        self.files = files
        self.url = url
        self.process = process
        self._transports: dict[str, HTTPTransport] = {}

    def transport(self, client: str | None = None) -> HTTPTransport:
        """Return a kept-alive connection of a client whose identity has been written, or of nobody."""
        if client is None:
            return self._kept("", None)
        return self._kept(client, (self.files.folder / f"{client}.pem", self.files.folder / f"{client}.key"))

    def est(self, client: str | None, label: str | None = ORDER) -> ESTClient:
        return ESTClient(self.transport(client).request, label)

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()

    def _kept(self, name: str, identity: tuple[Path, Path] | None) -> HTTPTransport:
        if name not in self._transports:
            trust = self.files.folder.joinpath("root.pem").read_bytes()
            self._transports[name] = HTTPTransport(self.url, client_context(trust, *(identity or ())))
        return self._transports[name]


@contextmanager
def running_ca(files: CAFiles) -> Iterator[RunningCA]:
    """Start the process, wait for its line, and end it with SIGTERM: it must end well."""
    command = (sys.executable, "-c", PROGRAM, str(files.config))
    with (files.folder / "ca.log").open("a") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, files.folder.joinpath("ca.log").read_text()
    running = RunningCA(files, json.loads(line)["ready"], process)
    try:
        yield running
    finally:
        running.close()
        if process.poll() is None:
            process.terminate()
            assert process.wait(STOP_TIME_S) == 0
        process.stdout.close()

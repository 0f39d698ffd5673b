# SPDX-License-Identifier: Apache-2.0
"""The service as a process, from its configuration file: start, revocation list, stop, and files it cannot use."""

import asyncio
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from birthmark.cloud.wiring import open_cloud, serve
from birthmark.core.errors import BirthmarkError, ConfigError
from birthmark.core.revocation import RevocationChange, RevocationPage, encode_page
from birthmark.net.asgi import peer
from birthmark.net.tls import client_context, server_context
from birthmark.net.transport import HTTPTransport
from birthmark.pki.authorities import make_root
from birthmark.pki.crl import Edition, Partition, RevokedCertificate, build_crl, number_at
from birthmark.testing.forge import APDU, Device, Forge, Model, new_key
from support.cloud_parts import UNIT, crl
from support.https_server import serving
from support.tls_files import TLSFiles, pem

NOW = datetime.now(UTC)
CONFIG = """tls_certificate = "server.pem"
tls_key = "server.key"
device_trust = "device-trust.pem"
endorsements = "endorsements.toml"
crl_url = "{crl_url}"
crl_trust = "trust.pem"
crl_refresh_s = 0.1
{more}"""
LEGACY = 'legacy_trust = "legacy.pem"\n'
SUNSET = "legacy_sunset = 2036-01-01T00:00:00Z\n"
PATIENCE_S = 10.0


@dataclass
class Publisher:
    """A CRL server whose list tests change; None answers 404. Its feed tells each client what was pushed, at once."""

    published: bytes | None = None
    url: str = ""
    partitions: dict[str, bytes] = field(default_factory=dict)
    changes: list[RevocationChange] = field(default_factory=list)
    followers: list[bytes | None] = field(default_factory=list)
    unchanged: int = 0

    async def answer(self, _request: Request) -> Response:
        if self.published is None:
            return Response(status_code=404)
        return Response(self.published, media_type="application/pkix-crl")

    async def part(self, request: Request) -> Response:
        data = self.partitions[request.path_params["part"]]
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        if request.headers.get("if-none-match") == tag:
            self.unchanged += 1
            return Response(status_code=304, headers={"etag": tag})
        return Response(data, media_type="application/pkix-crl", headers={"etag": tag})

    async def feed(self, request: Request) -> Response:
        self.followers.append(peer(request.scope).leaf)
        after = int(request.query_params["after"])
        for _ in range(int(100 * float(request.query_params["wait_s"]))):
            if len(self.changes) > after or await request.is_disconnected():
                break
            await asyncio.sleep(0.01)
        page = RevocationPage(after=after, head=len(self.changes), changes=tuple(self.changes[after:]))
        return Response(encode_page(page), media_type="application/json")


@dataclass
class Site:
    """A folder with all files of a cloud."""

    folder: Path
    forge: Forge = field(default_factory=lambda: Forge.at(NOW))

    def __post_init__(self) -> None:
        self.files = TLSFiles(self.folder, NOW, root=self.forge.root)
        self.files.server()
        trust = pem(self.forge.root.certificate, self.forge.issuing.certificate)
        (self.folder / "device-trust.pem").write_bytes(trust)
        (self.folder / "trust.pem").write_bytes(self.files.trust)
        (self.folder / "legacy.pem").write_bytes(pem(make_root("Forge", "Legacy root", new_key(), NOW).certificate))
        (self.folder / "maker.pem").write_bytes(self.forge.maker.trust_pem)
        (self.folder / "endorsements.toml").write_text(_endorsements(self.forge.maker.name, APDU))

    def config(self, crl_url: str = "https://127.0.0.1:1/v1/crl", more: str = "") -> Path:
        path = self.folder / "cloud.toml"
        path.write_text(CONFIG.format(crl_url=crl_url, more=more))
        return path

    def link(self, url: str, device: Device) -> HTTPTransport:
        identity = self.files.write("device", device.certificate, device.key)
        return HTTPTransport(url, client_context(self.files.trust, identity.certificate, identity.key))


def _endorsements(maker: str, model: Model) -> str:
    return f"""[[maker]]
name = "{maker}"
trust = "maker.pem"

[[model]]
id = "{model.id}"
hw_type = "{model.hw_type.dotted_string}"
maker = "{maker}"
certification = "none: forged"
statement_types = ["{model.statement_type.dotted_string}"]
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def publisher(site: Site) -> Iterator[Publisher]:
    made = Publisher()
    parts, feed = Route("/v1/crl/{part:path}", made.part), Route("/v1/revocations", made.feed)
    app = Starlette(routes=[Route("/v1/crl", made.answer), parts, feed])
    context = server_context(site.folder / "server.pem", site.folder / "server.key", site.files.trust)
    with serving(app, context) as server:
        made.url = f"{server.url}/v1/crl"
        yield made


@contextmanager
def running(config: Path) -> Iterator[tuple[str, Path]]:
    """Run the program; yield its URL and its log."""
    log = config.with_suffix(".log")
    command = [sys.executable, "-m", "birthmark.cli", "cloud", "serve", "--config", str(config)]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["ready"], log
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert rest == "", "one line on stdout and no more"


def eventually(link: HTTPTransport, status: int) -> str:
    """Ask until the answer has the status; return its first line."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := link.request("GET", "/v1/me")).status != status:
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)
    return answer.body.decode().partition("\n")[0]


def test_without_a_revocation_list_the_cloud_starts_and_admits_nobody_until_one_comes(
    site: Site, publisher: Publisher
) -> None:
    device = site.forge.device(UNIT)
    with running(site.config(publisher.url)) as (url, log):
        link = site.link(url, device)
        assert eventually(link, 503).startswith("cloud.revocation-unknown: ")
        publisher.published = crl(site.forge.issuing, at=NOW)
        eventually(link, 200)
        assert "finding=cloud.revocation-fetch" in log.read_text()
        publisher.published = crl(site.forge.issuing, device.certificate.serial_number, at=datetime.now(UTC))
        assert eventually(link, 403).startswith("cloud.revoked: ")
        link.close()


def test_the_revocation_list_of_a_large_fleet_is_read(site: Site, publisher: Publisher) -> None:
    publisher.published = crl(site.forge.issuing, *range(1 << 120, (1 << 120) + 100_000), at=datetime.now(UTC))
    with running(site.config(publisher.url)) as (url, _log):
        link = site.link(url, site.forge.device(UNIT))
        eventually(link, 200)
        link.close()


def test_a_revocation_list_that_runs_out_closes_the_doors(site: Site, publisher: Publisher) -> None:
    publisher.published = crl(site.forge.issuing, at=datetime.now(UTC), next_update_s=2)
    with running(site.config(publisher.url)) as (url, _log):
        link = site.link(url, site.forge.device(UNIT))
        eventually(link, 200)
        assert eventually(link, 503).startswith("cloud.revocation-unknown: ")
        link.close()


def test_a_pushed_revocation_turns_a_device_away_long_before_the_next_list(site: Site, publisher: Publisher) -> None:
    publisher.published = crl(site.forge.issuing, at=datetime.now(UTC))
    client = site.files.rig("cloud-1")
    feed = f'feed_url = "{publisher.url.removesuffix("crl")}revocations"\n'
    identity = 'feed_certificate = "cloud-1.pem"\nfeed_key = "cloud-1.key"\n'
    config = site.config(publisher.url, feed + identity)
    config.write_text(config.read_text().replace("crl_refresh_s = 0.1", "crl_refresh_s = 3600"))
    device = site.forge.device(UNIT)
    serial = f"{device.certificate.serial_number:x}"
    with running(config) as (url, _log):
        link = site.link(url, device)
        eventually(link, 200)
        change = RevocationChange(number=1, serial=serial, ending="revoked", at=datetime.now(UTC))
        publisher.changes.append(change)
        assert eventually(link, 403).startswith("cloud.revoked: ")
        link.close()
    assert set(publisher.followers) == {client.der}


def test_a_feed_that_cannot_be_read_is_said_in_the_log_and_stops_nothing(site: Site, publisher: Publisher) -> None:
    publisher.published = crl(site.forge.issuing, at=datetime.now(UTC))
    site.files.rig("cloud-1")
    feed = 'feed_url = "https://127.0.0.1:1/v1/revocations"\n'
    config = site.config(publisher.url, feed + 'feed_certificate = "cloud-1.pem"\nfeed_key = "cloud-1.key"\n')
    with running(config) as (url, log):
        link = site.link(url, site.forge.device(UNIT))
        eventually(link, 200)
        deadline = time.monotonic() + PATIENCE_S
        while "revocation feed: 127.0.0.1:1 cannot be reached" not in log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        eventually(link, 200)
        link.close()


def test_partitions_are_pulled_each_under_its_own_name_and_only_when_they_have_changed(
    site: Site, publisher: Publisher
) -> None:
    device = site.forge.device(UNIT)
    serial, issuing = device.certificate.serial_number, site.forge.issuing

    def publish(*revoked: int) -> None:
        now = datetime.now(UTC)
        for index in range(3):
            partition = Partition("http://crl.acme.example/v1/crl", 3, index)
            lines = [RevokedCertificate(each, now) for each in revoked if partition.covers(each)]
            edition = Edition(number_at(now), partition)
            publisher.partitions[f"3/{index}"] = build_crl(lines, issuing.key, issuing.certificate, now, 3600, edition)

    publish()
    names = 'crl_partitions = 3\ncrl_name = "http://crl.acme.example/v1/crl"\n'
    with running(site.config(publisher.url, names)) as (url, _log):
        link = site.link(url, device)
        eventually(link, 200)
        deadline = time.monotonic() + PATIENCE_S
        while publisher.unchanged < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        publish(serial)
        assert eventually(link, 403).startswith("cloud.revoked: ")
        link.close()


def test_an_unreachable_ca_is_said_in_the_log_and_stops_nothing(site: Site) -> None:
    with running(site.config()) as (url, log):
        link = site.link(url, site.forge.device(UNIT))
        eventually(link, 503)
        link.close()
    assert "127.0.0.1:1 cannot be reached" in log.read_text()


def test_the_administrator_works_beside_the_serving_process(site: Site) -> None:
    config = site.config()
    with running(config), open_cloud(config) as cloud:
        cloud.add_command(UNIT, "blink", {"times": 3})
        assert list(cloud.devices()) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("colour = 1\n", "colour"),
        (LEGACY, "legacy_sunset"),
        (LEGACY + "legacy_sunset = 2036-01-01T00:00:00\n", "legacy_sunset"),
        (LEGACY + SUNSET + 'new_line_serials = "("\n', "new_line_serials"),
        ('legacy_trust = "missing.pem"\n' + SUNSET, "missing.pem"),
        ('legacy_trust = "device-trust.pem"\n' + SUNSET, "same CA"),
        ('feed_url = "https://127.0.0.1:1/v1/revocations"\n', "go together"),
        ('feed_certificate = "server.pem"\nfeed_key = "server.key"\n', "go together"),
        ("crl_partitions = 65537\n", "crl_partitions"),
    ],
)
def test_a_configuration_is_refused_with_what_is_wrong(site: Site, more: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        serve(site.config(more=more))


def test_trust_without_an_issuing_ca_is_refused(site: Site) -> None:
    (site.folder / "device-trust.pem").write_bytes(site.files.trust)
    with pytest.raises(ConfigError, match="issuing CA"):
        serve(site.config())


def test_one_name_for_the_lists_of_two_cas_is_refused(site: Site) -> None:
    config = site.config(
        'https://127.0.0.1:1/v1/crl", "https://127.0.0.1:2/v1/crl', 'crl_name = "http://crl.example"\n'
    )
    config.write_text(
        config.read_text().replace('crl_url = "https', 'crl_url = ["https').replace(':2/v1/crl"', ':2/v1/crl"]')
    )
    with pytest.raises(ConfigError, match="crl_name"):
        serve(config)


def test_a_crl_url_that_is_no_url_is_refused(site: Site) -> None:
    with pytest.raises(BirthmarkError):
        serve(site.config("ftp://somewhere"))

# SPDX-License-Identifier: Apache-2.0
"""Lists, OCSP and the feed over real HTTP; openssl is the client that judges the responder."""

import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from urllib3 import PoolManager
from urllib3.response import BaseHTTPResponse

from birthmark.ca.status.http import PIECE_BYTES, StatusHTTP
from birthmark.core.revocation import decode_page
from birthmark.net.asgi import LoopbackServer
from birthmark.net.tls import client_context, server_context
from birthmark.net.transport import HTTPTransport
from birthmark.pki.crl import Partition, read_crl
from birthmark.pki.errors import OCSPError
from birthmark.pki.ocsp import REQUEST_MAX_BYTES, CertID, CertStatus, build_request, request_path
from birthmark.pki.ocsp_verification import read_response
from support.hierarchy import device_certificate, hierarchy
from support.https_server import START_TIME_S, serving
from support.openssl import openssl
from support.status_desk import MemoryDesk
from support.tls_files import TLSFiles

MAX_AGE_S = 600
PKI = hierarchy(datetime.now(UTC))
ISSUER = PKI.issuing.certificate
OCSP_TYPE = {"Content-Type": "application/ocsp-request"}


def now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def plain(app: Starlette) -> Iterator[str]:
    """Serve over plain HTTP, as it is done for lists and OCSP."""
    server = LoopbackServer(app, 0)
    ready = threading.Event()
    thread = threading.Thread(target=server.run_until_stopped, args=(lambda _url: ready.set(),))
    thread.start()
    try:
        assert ready.wait(START_TIME_S)
        yield server.url
    finally:
        server.stop()
        thread.join()


class Site:
    """An authority with two devices, one of them revoked, and its public endpoints."""

    def __init__(self, folder: Path, url: str, desk: MemoryDesk) -> None:
        self.folder, self.url, self.desk = folder, url, desk
        self.pool = PoolManager(retries=False)
        self.devices = [device_certificate(PKI.issuing, now()) for _ in range(2)]
        for name, certificate in (("root", PKI.root.certificate), ("issuing", ISSUER)):
            (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        for name, certificate in zip(("good", "revoked"), self.devices, strict=True):
            (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
            desk.issued.add(certificate.serial_number)
        desk.revoke(self.devices[1].serial_number, now())

    def get(self, path: str, **headers: str) -> BaseHTTPResponse:
        return self.pool.request("GET", self.url + path, headers=headers)

    def post(self, body: bytes, **headers: str) -> BaseHTTPResponse:
        return self.pool.request("POST", f"{self.url}/v1/ocsp", body=body, headers=OCSP_TYPE | headers)

    def asked(self, *arguments: str) -> tuple[str, str]:
        """Ask with openssl; return what it prints and what it complains about."""
        trust = ("-CAfile", "root.pem", "-verify_other", "issuing.pem", "-issuer", "issuing.pem")
        done = openssl(self.folder, "ocsp", "-url", f"{self.url}/v1/ocsp", *trust, *arguments)
        return done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    desk = MemoryDesk(PKI.issuing, now)
    with plain(StatusHTTP(desk, now, MAX_AGE_S).public_app()) as url:
        yield Site(tmp_path, url, desk)


def finding(answer: BaseHTTPResponse) -> str:
    return answer.data.decode().partition(":")[0]


# --- lists -----------------------------------------------------------------------------------------------------


def test_the_full_list_is_served_with_its_cache_headers(site: Site) -> None:
    answer = site.get("/v1/crl")
    crl = read_crl(answer.data, ISSUER, now())
    assert crl.serials == {site.devices[1].serial_number}
    assert (answer.status, answer.headers["content-type"]) == (200, "application/pkix-crl")
    assert answer.headers["cache-control"] == f"max-age={MAX_AGE_S}, public, no-transform, must-revalidate"
    assert answer.headers["expires"] == f"{crl.next_update:%a, %d %b %Y %H:%M:%S GMT}"


def test_each_partition_is_served_under_its_own_path(site: Site) -> None:
    serials = set[int]()
    for index in range(site.desk.count):
        partition = Partition(site.desk.base, site.desk.count, index)
        serials |= read_crl(site.get(f"/v1/crl/4/{index}").data, ISSUER, now(), partition).serials
    assert serials == {site.devices[1].serial_number}


@pytest.mark.parametrize(
    "path", ["/v1/crl/4/4", "/v1/crl/8/0", "/v1/crl/4/-1", "/v1/crl/4/01", "/v1/crl/4/x", "/v1/crl/0/0"]
)
def test_a_partition_that_there_is_not_is_404(site: Site, path: str) -> None:
    answer = site.get(path)
    assert (answer.status, finding(answer)) == (404, "ca.crl.no-partition")


def test_a_list_is_sent_again_only_when_it_has_changed(site: Site) -> None:
    first = site.get("/v1/crl")
    again = site.get("/v1/crl", **{"If-None-Match": first.headers["etag"]})
    assert (again.status, again.data, again.headers["etag"]) == (304, b"", first.headers["etag"])
    site.desk.revoke(5, now())
    assert site.get("/v1/crl", **{"If-None-Match": first.headers["etag"]}).status == 200


def test_openssl_reads_the_list_and_refuses_the_revoked_device(site: Site) -> None:
    crl = x509.load_der_x509_crl(site.get("/v1/crl").data)
    (site.folder / "list.pem").write_bytes(crl.public_bytes(Encoding.PEM))
    files = ("-CRLfile", "list.pem", "-CAfile", "root.pem", "-untrusted", "issuing.pem")
    good = openssl(site.folder, "verify", "-x509_strict", "-crl_check", *files, "good.pem")
    revoked = openssl(site.folder, "verify", "-x509_strict", "-crl_check", *files, "revoked.pem")
    assert (good.returncode, b"certificate revoked" in revoked.stderr) == (0, True)


# --- OCSP ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["-sha1", "-sha256"])
@pytest.mark.parametrize("standing", ["good", "revoked"])
def test_openssl_is_told_how_a_device_stands(site: Site, standing: str, algorithm: str) -> None:
    told, said = site.asked(algorithm, "-cert", f"{standing}.pem", "-no_nonce")
    assert said == "Response verify OK\n"
    assert told.startswith(f"{standing}.pem: {standing}\n")


def test_openssl_is_told_that_a_serial_was_never_issued(site: Site) -> None:
    told, said = site.asked("-serial", "4711", "-no_nonce")
    assert (told.splitlines()[0], said) == ("4711: unknown", "Response verify OK\n")


def test_openssl_may_ask_about_several_at_once_and_with_a_nonce(site: Site) -> None:
    told, said = site.asked("-cert", "good.pem", "-cert", "revoked.pem")
    assert "WARNING: no nonce in response" in said
    assert "Response verify OK" in said
    assert "good.pem: good\n" in told
    assert "revoked.pem: revoked\n" in told


def test_openssl_is_told_that_another_issuers_certificates_are_not_ours(site: Site) -> None:
    (site.folder / "issuing.pem").write_bytes(hierarchy().issuing.certificate.public_bytes(Encoding.PEM))
    told, _said = site.asked("-serial", "4711", "-no_nonce")
    assert "unauthorized (6)" in told


def standing_of(answer: BaseHTTPResponse, serial: int) -> CertStatus:
    assert (answer.status, answer.headers["content-type"]) == (200, "application/ocsp-response")
    return read_response(answer.data, ISSUER, serial, now()).standing.status


def test_the_get_form_is_answered_and_may_be_cached(site: Site) -> None:
    serial = site.devices[0].serial_number
    path = urllib.parse.quote(request_path(build_request([CertID.of(ISSUER, serial)])), safe="")
    answer = site.get(f"/v1/ocsp/{path}")
    assert standing_of(answer, serial) is CertStatus.GOOD
    assert answer.headers["cache-control"].startswith("max-age=600, public")
    assert {"etag", "expires", "last-modified", "date", "content-length"} <= {name.lower() for name in answer.headers}


def test_a_get_whose_slashes_are_not_escaped_is_answered_too(site: Site) -> None:
    serial = next(n for n in range(1, 500) if "/" in request_path(build_request([CertID.of(ISSUER, n)])))
    site.desk.issued.add(serial)
    path = request_path(build_request([CertID.of(ISSUER, serial)]))
    assert standing_of(site.get(f"/v1/ocsp/{path}"), serial) is CertStatus.GOOD


def error_of(answer: BaseHTTPResponse) -> str:
    assert (answer.status, answer.headers["content-type"]) == (200, "application/ocsp-response")
    assert answer.headers["cache-control"] == "no-store"
    with pytest.raises(OCSPError) as caught:
        read_response(answer.data, ISSUER, 1, now())
    assert caught.value.finding == "pki.ocsp.no-answer"
    return caught.value.message.removeprefix("the responder answered ")


@pytest.mark.parametrize("path", ["", "MDA", "%00", "////", "MDAwMA==%0A"])
def test_a_get_that_is_no_request_is_malformed(site: Site, path: str) -> None:
    assert error_of(site.get(f"/v1/ocsp/{path}")) == "malformed-request"


@pytest.mark.parametrize("body", [b"", b"0\x00", b"\xff" * 100], ids=["empty", "an empty sequence", "junk"])
def test_a_post_that_is_no_request_is_malformed(site: Site, body: bytes) -> None:
    assert error_of(site.post(body)) == "malformed-request"


def test_a_post_of_another_type_is_415_and_one_too_long_413(site: Site) -> None:
    other = site.post(b"{}", **{"Content-Type": "application/json"})
    assert (other.status, finding(other)) == (415, "ca.ocsp.media-type")
    long = site.post(bytes(REQUEST_MAX_BYTES + 1))
    assert (long.status, finding(long)) == (413, "net.body-too-large")


def test_strangers_cause_no_more_signatures_than_the_budget_holds(site: Site) -> None:
    asked = [site.post(build_request([CertID.of(ISSUER, serial)])) for serial in range(1, 6)]
    assert [standing_of(answer, n) for n, answer in enumerate(asked[:3], 1)] == [CertStatus.UNKNOWN] * 3
    assert [error_of(answer) for answer in asked[3:]] == ["try-later"] * 2
    serial = site.devices[0].serial_number
    assert standing_of(site.post(build_request([CertID.of(ISSUER, serial)])), serial) is CertStatus.GOOD


def test_a_signer_that_is_away_is_said_in_each_calls_own_terms(site: Site) -> None:
    site.desk.broken = True
    answer = site.get("/v1/crl")
    assert (answer.status, finding(answer), answer.headers["retry-after"]) == (503, "ca.signer", "5")
    assert error_of(site.post(build_request([CertID.of(ISSUER, 1)]))) == "try-later"


def test_a_list_that_cannot_be_looked_after_now_is_served_as_it_was(site: Site) -> None:
    first = site.get("/v1/crl")
    site.desk.broken = True
    again = site.get("/v1/crl")
    assert (again.status, again.data, again.headers["etag"]) == (200, first.data, first.headers["etag"])


def test_a_list_in_several_pieces_arrives_whole(site: Site) -> None:
    for serial in range(1, 9_000):
        site.desk.revoke(serial, now())
    answer = site.get("/v1/crl")
    assert len(answer.data) > 2 * PIECE_BYTES
    assert int(answer.headers["content-length"]) == len(answer.data)
    assert len(read_crl(answer.data, ISSUER, now()).serials) == 9_000


def test_the_feed_is_not_served_without_tls(site: Site) -> None:
    assert site.get("/v1/revocations?after=0").status == 404


# --- the feed --------------------------------------------------------------------------------------------------


class Followed:
    """The same authority behind mutual TLS, with one client that may read the feed and one that may not."""

    def __init__(self, folder: Path) -> None:
        self.files = TLSFiles(folder, now())
        self.server = self.files.server()
        self.cloud, self.rig = self.files.rig("cloud-1"), self.files.rig("rig-1")
        self.desk = MemoryDesk(PKI.issuing, now, followers=frozenset({self.cloud.der}))

    @contextmanager
    def links(self) -> Iterator[tuple[HTTPTransport, HTTPTransport, HTTPTransport]]:
        context = server_context(self.server.certificate, self.server.key, self.files.trust)
        app = Starlette(routes=StatusHTTP(self.desk, now, MAX_AGE_S).routes())
        with serving(app, context) as server:
            clients = [
                client_context(self.files.trust),
                *(client_context(self.files.trust, each.certificate, each.key) for each in (self.cloud, self.rig)),
            ]
            links = [HTTPTransport(server.url, context) for context in clients]
            yield links[0], links[1], links[2]
            for link in links:
                link.close()


def test_the_feed_is_read_by_whom_the_authority_lets(tmp_path: Path) -> None:
    followed = Followed(tmp_path)
    followed.desk.revoke(5, now())
    with followed.links() as (nobody, cloud, rig):
        answer = cloud.request("GET", "/v1/revocations?after=0")
        page = decode_page(answer.body, 0)
        assert [(change.number, change.serial) for change in page.changes] == [(1, "5")]
        assert answer.headers["cache-control"] == "no-store"
        for link in (nobody, rig):
            refused = link.request("GET", "/v1/revocations?after=0")
            assert (refused.status, refused.body.partition(b":")[0]) == (403, b"ca.feed.client")


def test_a_page_is_held_back_until_there_is_a_change(tmp_path: Path) -> None:
    followed = Followed(tmp_path)
    with followed.links() as (_nobody, cloud, _rig):
        assert decode_page(cloud.request("GET", "/v1/revocations?after=0&wait_s=0.1").body, 0).changes == ()
        revoked = threading.Timer(0.2, lambda: followed.desk.revoke(5, now()))
        revoked.start()
        # The link gives up after ten seconds: the page comes with the change, not at the end of the wait.
        page = decode_page(cloud.request("GET", "/v1/revocations?after=0&wait_s=30").body, 0)
        revoked.join()
        assert len(page.changes) == 1


def test_a_follower_that_knows_more_is_answered_at_once(tmp_path: Path) -> None:
    with Followed(tmp_path).links() as (_nobody, cloud, _rig):
        page = decode_page(cloud.request("GET", "/v1/revocations?after=9&wait_s=9").body, 9)
        assert (page.head, page.changes) == (0, ())


@pytest.mark.parametrize(
    "query", ["", "?after=-1", "?after=x", "?after=0&wait_s=31", "?after=0&wait_s=nan", "?after=0&more=1"]
)
def test_a_query_that_is_malformed_is_400(tmp_path: Path, query: str) -> None:
    with Followed(tmp_path).links() as (_nobody, cloud, _rig):
        refused = cloud.request("GET", f"/v1/revocations{query}")
        assert (refused.status, refused.body.partition(b":")[0]) == (400, b"ca.feed.query")

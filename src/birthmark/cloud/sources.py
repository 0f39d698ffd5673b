# SPDX-License-Identifier: Apache-2.0
"""The ways to the revocation lists and to the feed, over HTTPS, and the two threads that keep both fresh."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from birthmark.cloud.config import CloudConfig
from birthmark.cloud.errors import RevocationFetch, RevocationUnknown
from birthmark.cloud.ports import CRLAnswer, FetchChanges, FetchCRL
from birthmark.cloud.revocation import ListSource, RevocationFeed
from birthmark.core.clock import Clock
from birthmark.core.config import read_file
from birthmark.core.errors import ConfigError
from birthmark.core.revocation import PAGE_MAX_BYTES
from birthmark.net import tls
from birthmark.net.transport import HTTPTransport
from birthmark.pki.crl import CRL_MAX_BYTES, Partition
from birthmark.pki.paths import read_trust

FIRST_CRL_RETRY_S: Final = 1.0
"""How often the lists are asked for while one is missing: until then nobody is let in."""
FEED_WAIT_S: Final = 25.0
"""How long the authority may hold a page back: a change is answered at once, and less often asked for."""
FEED_ANSWER_S: Final = 10.0
"""What the authority gets for its answer beyond that."""
FEED_RETRY_S: Final = 1.0
FEED_RETRY_MAX_S: Final = 10.0
"""After a failure the feed is asked again after a second, then two, four and eight, then each ten seconds."""
HTTP_OK: Final = 200
HTTP_NOT_MODIFIED: Final = 304


def open_feed(config: CloudConfig, folder: Path, issuers: Sequence[x509.Certificate], clock: Clock) -> RevocationFeed:
    """
    Return the feed as it is configured; nothing is fetched yet.

    Raises:
        ConfigError: a URL or a file that cannot be used, or keys that contradict each other.

    """
    trust_pem = read_file(folder / config.crl_trust)
    read_trust(trust_pem, str(folder / config.crl_trust))  # its error names the file
    urls = (config.crl_url,) if isinstance(config.crl_url, str) else config.crl_url
    if config.crl_name is not None and len(urls) > 1:
        raise ConfigError("crl_name with more than one crl_url", hint="lists of several CAs are named by their URLs")
    sources = [source for url in urls for source in _sources(url, config, trust_pem)]
    return RevocationFeed(sources, issuers, clock, _fetch_changes(config, folder, trust_pem))


@contextmanager
def kept_fresh(feed: RevocationFeed, clock: Clock, refresh_s: float, *, follows: bool) -> Iterator[None]:
    """Pull the lists, and follow the feed where there is one, until the block ends."""
    stop = threading.Event()
    threading.Thread(target=_pull_until, args=(stop, feed, clock, refresh_s), name="crl", daemon=True).start()
    if follows:
        threading.Thread(target=_follow_until, args=(stop, feed, clock), name="feed", daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def _sources(url: str, config: CloudConfig, trust_pem: bytes) -> Iterator[ListSource]:
    parts = urlsplit(url)
    context = tls.client_context(trust_pem)
    transport = HTTPTransport(f"{parts.scheme}://{parts.netloc}", context, response_max_bytes=CRL_MAX_BYTES)
    if config.crl_partitions == 0:
        yield ListSource(_fetch_list(transport, parts.path))
    for index in range(config.crl_partitions):
        partition = Partition(config.crl_name or url, config.crl_partitions, index)
        yield ListSource(_fetch_list(transport, f"{parts.path}/{partition.count}/{index}"), partition)


def _fetch_list(transport: HTTPTransport, path: str) -> FetchCRL:
    def fetch(tag: str) -> CRLAnswer | None:
        answer = transport.request("GET", path, {"If-None-Match": tag} if tag else {})
        if answer.status == HTTP_NOT_MODIFIED and tag:
            return None
        if answer.status != HTTP_OK:
            raise RevocationFetch(f"{transport.server}{path} answered with status {answer.status}")
        return CRLAnswer(answer.body, answer.headers.get("etag", ""))

    return fetch


def _fetch_changes(config: CloudConfig, folder: Path, trust_pem: bytes) -> FetchChanges | None:
    url, certificate, key = config.feed_url, config.feed_certificate, config.feed_key
    if url is None and certificate is None and key is None:
        return None
    if url is None or certificate is None or key is None:
        raise ConfigError(
            "feed_url, feed_certificate and feed_key go together",
            hint="the feed is read over mutual TLS, or not at all",
        )
    parts = urlsplit(url)
    context = tls.client_context(trust_pem, folder / certificate, folder / key)
    transport = HTTPTransport(
        f"{parts.scheme}://{parts.netloc}", context, FEED_WAIT_S + FEED_ANSWER_S, response_max_bytes=PAGE_MAX_BYTES
    )

    def fetch(after: int, wait_s: float) -> bytes:
        answer = transport.request("GET", f"{parts.path}?after={after}&wait_s={wait_s:g}")
        if answer.status != HTTP_OK:
            raise RevocationFetch(f"{url} answered with status {answer.status}")
        return answer.body

    return fetch


def _pull_until(stop: threading.Event, feed: RevocationFeed, clock: Clock, refresh_s: float) -> None:
    while not stop.is_set():
        feed.pull_or_log()
        stop.wait(refresh_s if _in_force(feed, clock) else min(refresh_s, FIRST_CRL_RETRY_S))


def _follow_until(stop: threading.Event, feed: RevocationFeed, clock: Clock) -> None:
    retry_s = FEED_RETRY_S
    while not stop.is_set():
        # The lists say where the feed goes on; without them nobody is let in, and there is nobody to turn away.
        if not _in_force(feed, clock):
            stop.wait(FEED_RETRY_S)
        elif feed.follow_or_log(FEED_WAIT_S):
            retry_s = FEED_RETRY_S
        else:
            stop.wait(retry_s)
            retry_s = min(2 * retry_s, FEED_RETRY_MAX_S)


def _in_force(feed: RevocationFeed, clock: Clock) -> bool:
    try:
        feed.current(clock())
    except RevocationUnknown:
        return False
    return True

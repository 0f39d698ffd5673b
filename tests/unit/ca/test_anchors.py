# SPDX-License-Identifier: Apache-2.0
"""What devices say of their anchors: whose word counts, for how long, and what is still handed out afterwards."""

from contextlib import suppress

import msgspec
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from birthmark.ca.anchors import AnchorDesk, Lineage, RootOffice, digest_of, without_roots
from birthmark.ca.demands import Client
from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.life.lifecycle import ADMINISTRATOR, Lifecycle
from birthmark.ca.life.units import Move
from birthmark.core.anchors import ANCHORS_MAX, decode_anchors, encode_anchors
from birthmark.core.errors import DecodeError, StoreError
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import make_root, make_sub_ca
from birthmark.pki.keys.software import generate
from birthmark.pki.rollover import make_rollover
from birthmark.testing.forge import new_key
from support.ca_parts import NOW, UNIT, CAParts, FaultyStore, renewed

NEW_ROOT = make_root("Forge", "Root 2026", generate(KeyAlgorithm.P256), NOW)
NEW_ISSUING = make_sub_ca(NEW_ROOT, "Issuing 2", generate(KeyAlgorithm.P256), NOW)
NEW = digest_of(NEW_ROOT.certificate)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)


class Site:
    """A desk for anchors, and the office that counts who holds the new root."""

    def __init__(self, parts: CAParts) -> None:
        self.parts = parts
        self.root = parts.forge.root.certificate
        self.desk = AnchorDesk(parts.store, parts.policy.trust, parts.clock)
        known = (parts.forge.issuing.certificate, self.root, NEW_ISSUING.certificate, NEW_ROOT.certificate)
        self.lineage = Lineage((NEW_ISSUING.certificate,), known)
        self.office = RootOffice(parts.store, self.lineage, parts.clock)

    def says(self, certificate: x509.Certificate, *roots: str) -> None:
        self.desk.take(self.parts.device(certificate), encode_anchors(frozenset(roots)))

    def count(self) -> tuple[int, int]:
        reached = self.office.coverage(digest_of(self.root), NEW)
        return reached.holding, reached.living


@pytest.fixture
def site(parts: CAParts) -> Site:
    return Site(parts)


def test_what_a_device_names_counts_with_the_certificate_that_it_uses(parts: CAParts, site: Site) -> None:
    board = parts.board()
    first = parts.confirmed(board)
    assert site.count() == (0, 1)
    site.says(first, NEW)
    assert site.count() == (1, 1)
    second = renewed(parts, board, first, new_key())
    assert site.count() == (0, 1)  # the new one has said nothing yet
    site.says(first, NEW)
    assert site.count() == (0, 1)  # and the old one does not speak for it
    site.says(second, NEW)
    assert site.count() == (1, 1)
    site.says(second, digest_of(site.root))
    assert site.count() == (0, 1)


def test_the_living_are_those_who_may_come_back(parts: CAParts, site: Site) -> None:
    site.says(parts.confirmed(parts.board()), NEW)
    parts.born(parts.board("BM-000002"))  # nobody has confirmed it: it is no unit
    life = Lifecycle(parts.store, parts.clock)
    life.move(ADMINISTRATOR, UNIT, Move.SUSPEND, "stolen?")
    assert site.count() == (1, 1)
    life.move(ADMINISTRATOR, UNIT, Move.RETIRE, "stolen")
    assert site.count() == (0, 0)


def test_who_is_no_device_with_a_good_certificate_says_nothing_and_stands_in_the_log(
    parts: CAParts, site: Site
) -> None:
    certificate = parts.confirmed(parts.board())
    Lifecycle(parts.store, parts.clock).revoke_unit(ADMINISTRATOR, UNIT, "stolen")
    body = encode_anchors(frozenset({NEW}))
    said: tuple[tuple[Client | None, str], ...] = (
        (parts.device(certificate), "ca.re.revoked"),
        (parts.client(), "ca.1.device"),
        (None, "ca.1.device"),
    )
    for client, finding in said:
        with pytest.raises(Refused) as refused:
            site.desk.take(client, body)
        assert refused.value.finding == finding
    rows = [row for row in parts.administration.audit() if row["act"] == "anchors"]
    assert [row["finding"] for row in rows] == ["ca.re.revoked", "ca.1.device"]


def test_a_ledger_that_is_away_is_503(parts: CAParts, site: Site) -> None:
    certificate = parts.confirmed(parts.board())
    away = AnchorDesk(FaultyStore(parts.store, [StoreError("away")]), parts.policy.trust, parts.clock)
    with pytest.raises(NotNow):
        away.take(parts.device(certificate), encode_anchors(frozenset({NEW})))
    assert site.count() == (0, 1)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}", id="an empty object"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"anchors":[]}', id="no anchor"),
        pytest.param(b'{"anchors":["AB"]}', id="too short"),
        pytest.param(msgspec.json.encode({"anchors": [NEW, NEW]}), id="one twice"),
        pytest.param(msgspec.json.encode({"anchors": [NEW.upper()]}), id="capitals"),
        pytest.param(msgspec.json.encode({"anchors": [NEW], "more": 1}), id="another member"),
        pytest.param(msgspec.json.encode({"anchors": [f"{n:064x}" for n in range(ANCHORS_MAX + 1)]}), id="too many"),
        pytest.param(b"[" * 2_000, id="too deep"),
    ],
)
def test_a_body_that_is_no_list_of_anchors_is_refused(parts: CAParts, site: Site, body: bytes) -> None:
    certificate = parts.confirmed(parts.board())
    with pytest.raises(Refused) as refused:
        site.desk.take(parts.device(certificate), body)
    assert (refused.value.status, refused.value.finding) == (400, "ca.anchors.malformed")


@given(st.frozensets(DIGESTS, min_size=1, max_size=ANCHORS_MAX))
def test_anchors_come_back_as_they_were_named(anchors: frozenset[str]) -> None:
    assert decode_anchors(encode_anchors(anchors)) == anchors


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(DecodeError):
        assert decode_anchors(body)


@pytest.mark.parametrize("count", [0, ANCHORS_MAX + 1])
def test_no_anchors_and_too_many_are_not_named(count: int) -> None:
    with pytest.raises(DecodeError):
        encode_anchors(frozenset(f"{n:064x}" for n in range(count)))


def test_a_retired_root_leaves_with_its_bridge_and_nothing_else(parts: CAParts) -> None:
    old, life = parts.forge.root, (NOW, NEW_ROOT.certificate.not_valid_after_utc)
    bridge = (make_rollover(NEW_ROOT, old.certificate, life), make_rollover(old, NEW_ROOT.certificate, life))
    served = (NEW_ISSUING.certificate, NEW_ROOT.certificate, old.certificate, *bridge)
    assert without_roots(served, ()) == served
    assert without_roots(served, {digest_of(old.certificate)}) == served[:2]


def test_a_root_is_known_above_every_issuer_that_we_know(site: Site) -> None:
    assert set(site.lineage.roots) == {digest_of(site.root), NEW}
    assert site.lineage.root_of("") == digest_of(site.root)  # an earlier release's
    assert site.lineage.root_of("00") == ""
    with pytest.raises(Refused) as refused:
        site.office.coverage("0" * 64, NEW)
    assert (refused.value.status, refused.value.finding) == (404, "ca.root.unknown")

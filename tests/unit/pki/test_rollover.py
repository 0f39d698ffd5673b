# SPDX-License-Identifier: Apache-2.0
"""Roll-over certificates: who trusts one of the two roots accepts what hangs under the other. openssl is the judge."""

from datetime import datetime, timedelta
from pathlib import Path as File

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import Authority, make_root, make_sub_ca
from birthmark.pki.errors import PathError
from birthmark.pki.keys.software import generate
from birthmark.pki.paths import Path, Purpose, TrustAnchors, validate_path
from birthmark.pki.rollover import Validity, joined, make_rollover, new_with_old_validity, old_with_new_validity
from support.hierarchy import AT, device_certificate
from support.openssl import made_by_openssl

LATER = AT + timedelta(days=5 * 365)
OLD = make_root("Acme Controls", "Acme Root 2016", generate(KeyAlgorithm.P256), AT, days=20 * 365)
NEW = make_root("Acme Controls", "Acme Root 2026", generate(KeyAlgorithm.P384), LATER)


def life(root: Authority) -> Validity:
    return root.certificate.not_valid_before_utc, root.certificate.not_valid_after_utc


OLD_WITH_NEW = make_rollover(NEW, OLD.certificate, old_with_new_validity(life(OLD), life(NEW)))
NEW_WITH_OLD = make_rollover(OLD, NEW.certificate, new_with_old_validity(life(OLD), life(NEW)))
DIRECTIONS = [
    pytest.param(OLD, NEW, NEW_WITH_OLD, id="a device that trusts the old root meets the new chain"),
    pytest.param(NEW, OLD, OLD_WITH_NEW, id="a device that trusts the new root meets the old chain"),
]


def chain_under(root: Authority) -> tuple[x509.Certificate, x509.Certificate]:
    issuing = make_sub_ca(root, "Acme Issuing", generate(KeyAlgorithm.P256), LATER, days=5 * 365)
    return device_certificate(issuing, LATER), issuing.certificate


def path(trusted: Authority, root: Authority, *between: x509.Certificate) -> Path:
    leaf, issuing = chain_under(root)
    return validate_path(leaf, [issuing, *between], TrustAnchors((trusted.certificate,)), LATER, Purpose.CLIENT)


@pytest.mark.parametrize(("trusted", "root", "cross"), DIRECTIONS)
def test_a_chain_under_the_other_root_is_accepted_through_the_roll_over_certificate(
    trusted: Authority, root: Authority, cross: x509.Certificate
) -> None:
    assert path(trusted, root, cross)[2:] == (cross, trusted.certificate)


@pytest.mark.parametrize(("trusted", "root", "cross"), DIRECTIONS)
def test_without_it_the_chain_is_refused(trusted: Authority, root: Authority, cross: x509.Certificate) -> None:
    other = NEW_WITH_OLD if cross is OLD_WITH_NEW else OLD_WITH_NEW
    for between in ((), (other,)):
        with pytest.raises(PathError) as refused:
            path(trusted, root, *between)
        assert refused.value.finding == "pki.path.unknown-issuer"


@pytest.mark.parametrize(("trusted", "root", "cross"), DIRECTIONS)
def test_openssl_accepts_the_same_path(
    trusted: Authority, root: Authority, cross: x509.Certificate, tmp_path: File
) -> None:
    leaf, issuing = chain_under(root)
    for name, some in (("root", (trusted.certificate,)), ("between", (issuing, cross)), ("leaf", (leaf,))):
        (tmp_path / f"{name}.pem").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in some))
    strictly = ("verify", "-x509_strict", "-purpose", "sslclient", "-attime", str(int(LATER.timestamp())))
    made_by_openssl(tmp_path, *strictly, "-CAfile", "root.pem", "-untrusted", "between.pem", "leaf.pem")


def test_it_says_what_the_root_says_of_itself() -> None:
    for cross, root in ((OLD_WITH_NEW, OLD), (NEW_WITH_OLD, NEW)):
        assert cross.subject == root.certificate.subject
        assert cross.public_key() == root.certificate.public_key()
        for kind in (x509.BasicConstraints, x509.KeyUsage, x509.SubjectKeyIdentifier):
            mine, own = (one.extensions.get_extension_for_class(kind) for one in (cross, root.certificate))
            assert mine == own


YEARS = [datetime(year, 1, 1, tzinfo=AT.tzinfo) for year in (2016, 2026, 2036, 2046)]


@pytest.mark.parametrize(
    ("old", "new", "old_with_new", "new_with_old"),
    [
        pytest.param((0, 2), (1, 3), (0, 2), (1, 2), id="the old one ends first"),
        pytest.param((0, 3), (1, 2), (0, 2), (1, 2), id="the new one ends first"),
        pytest.param((0, 3), (0, 3), (0, 3), (0, 3), id="both from one ceremony"),
    ],
)
def test_it_lives_no_longer_than_either_root(
    old: tuple[int, int], new: tuple[int, int], old_with_new: tuple[int, int], new_with_old: tuple[int, int]
) -> None:
    def dates(years: tuple[int, int]) -> Validity:
        return YEARS[years[0]], YEARS[years[1]]

    assert old_with_new_validity(dates(old), dates(new)) == dates(old_with_new)
    assert new_with_old_validity(dates(old), dates(new)) == dates(new_with_old)


BRIDGE = (OLD.certificate, OLD_WITH_NEW, NEW_WITH_OLD)
NEW_CHAIN = (make_sub_ca(NEW, "Acme Issuing 2", generate(KeyAlgorithm.P256), LATER).certificate, NEW.certificate)


def test_a_ca_hands_out_its_chain_and_the_bridge_to_the_other_root_each_once() -> None:
    assert joined(NEW_CHAIN, BRIDGE) == (*NEW_CHAIN, *BRIDGE)
    assert joined(NEW_CHAIN, (NEW.certificate, *BRIDGE)) == (*NEW_CHAIN, *BRIDGE)
    assert joined(NEW_CHAIN, ()) == NEW_CHAIN


STRANGER = make_root("Eve", "Eve Root", generate(KeyAlgorithm.P256), AT)


@pytest.mark.parametrize(
    ("bridge", "reason"),
    [
        pytest.param((STRANGER.certificate,), "a root of the chain", id="a root that nobody vouches for"),
        pytest.param((NEW_WITH_OLD,), "signed by nobody", id="the old root is missing"),
        pytest.param((*BRIDGE, chain_under(NEW)[0]), "is no CA", id="a device"),
    ],
)
def test_it_hands_out_nothing_strange(bridge: tuple[x509.Certificate, ...], reason: str) -> None:
    with pytest.raises(PathError, match=reason):
        joined(NEW_CHAIN, bridge)

# SPDX-License-Identifier: Apache-2.0
"""ADR 0012: the responder's certificate is the one exception, and it leads nowhere else."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

import birthmark
from birthmark.pki.errors import PathError
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from support.hierarchy import hierarchy
from support.ocsp_parts import responder_of

NOW = datetime.now(UTC)
SOURCES = Path(birthmark.__file__).parent
MAKER = "make_ocsp_responder"


def test_nothing_but_the_ceremony_makes_a_responder() -> None:
    callers = {path.relative_to(SOURCES) for path in SOURCES.rglob("*.py") if MAKER in path.read_text()}
    allowed = (Path("pki/authorities.py"), Path("ca/ceremony"), Path("testing"))
    assert all(any(path.is_relative_to(place) for place in allowed) for path in callers), callers


@pytest.mark.parametrize("purpose", Purpose)
def test_a_responders_certificate_is_good_for_no_other_purpose(purpose: Purpose) -> None:
    pki = hierarchy(NOW)
    trust = TrustAnchors((pki.root.certificate,), (pki.issuing.certificate,))
    with pytest.raises(PathError) as refused:
        validate_path(responder_of(pki.issuing, NOW).certificate, (), trust, NOW, purpose)
    assert refused.value.finding == "pki.path.purpose"

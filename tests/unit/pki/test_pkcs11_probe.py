# SPDX-License-Identifier: Apache-2.0
"""What a token says that it offers: SoftHSM, itself and through p11-kit, which lets less through."""

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.errors import TokenMissing
from birthmark.pki.keys.pkcs11 import Token
from birthmark.pki.keys.pkcs11.probe import Capabilities, Offer, needs, probe
from birthmark.testing.lab.softhsm import CLIENT_MODULE, TokenServer
from support.softhsm import LABEL, MODULE, PIN, SoftHSM, make_token


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHSM:
    made = make_token(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.configuration))
    return made


@pytest.fixture
def server(hsm: SoftHSM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    made = TokenServer(tmp_path, {"SOFTHSM2_CONF": str(hsm.configuration)})
    for name, value in made.client_environment.items():
        monkeypatch.setenv(name, value)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def found(hsm: SoftHSM) -> Capabilities:
    assert hsm
    return probe(MODULE, LABEL)


def offer(found: Capabilities, name: str) -> Offer:
    return next(one for one in found.mechanisms if one.name == name)


def test_a_token_says_who_it_is(found: Capabilities) -> None:
    assert (found.label, found.manufacturer, found.model) == (LABEL, "SoftHSM project", "SoftHSM v2")
    assert (found.cryptoki_version, found.module) == ("2.40", str(MODULE))
    assert {"RNG", "LOGIN_REQUIRED", "TOKEN_INITIALIZED"} <= set(found.flags)
    assert "USER_PIN_LOCKED" not in found.flags
    assert found.sessions_max == 0, "SoftHSM has no limit"
    with pytest.raises(FrozenInstanceError):
        found.label = "other"  # type: ignore[misc] # the point


def test_a_token_says_what_it_can_do(found: Capabilities) -> None:
    ecdsa = offer(found, "ECDSA")
    assert (ecdsa.key_bits_min, ecdsa.key_bits_max) == (112, 521)
    assert {"SIGN", "VERIFY"} <= set(ecdsa.uses)
    assert "GENERATE_KEY_PAIR" in offer(found, "EC_KEY_PAIR_GEN").uses


def test_what_softhsm_lacks_is_named_with_what_to_do(found: Capabilities) -> None:
    met = {need.algorithm for need in needs(found) if need.is_met}
    assert met == {KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.ED25519}
    (missing,) = [need for need in needs(found) if need.algorithm is KeyAlgorithm.MLDSA65]
    assert missing.missing == ("ML_DSA_KEY_PAIR_GEN", "ML_DSA")
    assert "PKCS#11 3.2" in missing.advice


def test_a_curve_that_is_too_long_for_the_token_is_missing(found: Capabilities) -> None:
    short = tuple(replace(one, key_bits_max=256) if one.name == "ECDSA" else one for one in found.mechanisms)
    unmet = {need.algorithm: need.missing for need in needs(replace(found, mechanisms=short)) if not need.is_met}
    assert unmet[KeyAlgorithm.P384] == ("ECDSA",)
    assert KeyAlgorithm.P256 not in unmet


def test_ml_dsa_is_not_used_even_where_a_token_offers_it(found: Capabilities) -> None:
    more = tuple(Offer(name, 0, 0, ()) for name in ("ML_DSA_KEY_PAIR_GEN", "ML_DSA"))
    judged = needs(replace(found, mechanisms=(*found.mechanisms, *more)))
    assert [(need.missing, need.is_met) for need in judged if need.algorithm is KeyAlgorithm.MLDSA44] == [((), False)]


def test_a_token_is_probed_while_it_is_in_use(hsm: SoftHSM) -> None:
    assert hsm
    with Token.open(MODULE, LABEL, PIN) as token:
        key = token.generate("issuing", KeyAlgorithm.P256)
        assert probe(MODULE, LABEL).label == LABEL
        assert key.public_key() == token.key("issuing").public_key()


def test_a_token_that_is_not_there_is_missing(hsm: SoftHSM) -> None:
    assert hsm
    with pytest.raises(TokenMissing):
        probe(MODULE, "another")


def test_what_a_proxy_does_not_let_through_is_missing(server: TokenServer) -> None:
    assert server
    found = probe(CLIENT_MODULE, LABEL)
    assert (found.sessions_max, found.sessions_open) == (None, None)
    assert KeyAlgorithm.P256 in {need.algorithm for need in needs(found) if need.is_met}
    (ed25519,) = [need for need in needs(found) if need.algorithm is KeyAlgorithm.ED25519]
    assert not ed25519.is_met
    assert "P-256" in ed25519.advice

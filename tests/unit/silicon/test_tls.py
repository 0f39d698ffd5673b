# SPDX-License-Identifier: Apache-2.0
import asyncio
import ctypes
import gc
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.pki import authorities
from birthmark.silicon import openssl, tls
from birthmark.silicon.errors import ChipAbsent, ChipError
from support.mutual_tls import GREETING, NOW, TIMEOUT_S, TLS_VERSIONS, Server, World, greeted, serving

SSL_CTRL_SET_SIGALGS_LIST = 98
OLD_HOOKS: list[object] = []
"""Hooks that a test has replaced: contexts that were made before still call them."""


@dataclass
class Signer:
    """A key outside of OpenSSL that remembers what it signed."""

    key: ec.EllipticCurvePrivateKey
    signed: list[bytes] = field(default_factory=list)

    def __call__(self, digest: bytes) -> bytes:
        self.signed.append(digest)
        algorithm = SHA256() if self.key.key_size == 256 else SHA384()
        return self.key.sign(digest, ec.ECDSA(Prehashed(algorithm)))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("version", TLS_VERSIONS)
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
def test_a_client_proves_a_key_that_openssl_never_sees(
    world: World, version: ssl.TLSVersion, curve: ec.EllipticCurve
) -> None:
    signer = Signer(ec.generate_private_key(curve))
    chain = world.certificate(signer.key.public_key())
    context = world.client_context()
    tls.use_chip_key(context, chain, signer)
    with serving(world.server_context(version)) as server:
        assert greeted(context, server)[0] == GREETING
    assert len(signer.signed) == 1
    assert server.peers == [chain[0]]


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_a_resumed_session_asks_for_no_signature(world: World, version: ssl.TLSVersion) -> None:
    signer = Signer(ec.generate_private_key(ec.SECP256R1()))
    context = world.with_key(signer.key, signer)
    with serving(world.server_context(version)) as server:
        _, session = greeted(context, server)
        assert greeted(context, server, session)[0] == GREETING
    assert len(signer.signed) == 1
    assert server.peers[0] == server.peers[1]


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_a_certificate_without_its_key_is_refused_by_the_server(world: World, version: ssl.TLSVersion) -> None:
    genuine = ec.generate_private_key(ec.SECP256R1())
    attacker = Signer(ec.generate_private_key(ec.SECP256R1()))
    context = world.with_key(genuine, attacker)
    with serving(world.server_context(version)) as server, pytest.raises(ssl.SSLError, match="alert decrypt error"):
        greeted(context, server)
    assert len(attacker.signed) == 1
    assert server.peers == []
    assert "bad signature" in server.refusals[0]


def failing(error: BaseException) -> Callable[[bytes], bytes]:
    def sign(_digest: bytes) -> bytes:
        raise error

    return sign


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_a_chip_that_fails_is_named_as_the_reason(world: World, version: ssl.TLSVersion) -> None:
    absent = ChipAbsent("nobody there")
    context = world.with_key(ec.generate_private_key(ec.SECP256R1()), failing(absent))
    with serving(world.server_context(version)) as server, pytest.raises(ChipAbsent) as caught:
        greeted(context, server)
    assert caught.value is absent
    assert server.peers == []


def test_a_signer_with_a_bug_becomes_a_chip_error_with_its_cause(world: World) -> None:
    context = world.with_key(ec.generate_private_key(ec.SECP256R1()), failing(KeyError("secret")))
    with serving(world.server_context(ssl.TLSVersion.TLSv1_3)) as server, pytest.raises(ChipError) as caught:
        greeted(context, server)
    assert caught.value.finding == "chip.tls.signature"
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_interrupt_in_the_signer_is_not_swallowed(world: World) -> None:
    context = world.with_key(ec.generate_private_key(ec.SECP256R1()), failing(KeyboardInterrupt()))
    with (
        serving(world.server_context(ssl.TLSVersion.TLSv1_3)) as server,
        socket.create_connection(server.address, TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost", do_handshake_on_connect=False) as secured,
        pytest.raises(KeyboardInterrupt),
    ):
        secured.do_handshake()


def test_a_failed_handshake_leaves_the_context_usable(world: World) -> None:
    signer = Signer(ec.generate_private_key(ec.SECP256R1()))
    answers = [signer, failing(ChipAbsent("unplugged"))]

    def sign(digest: bytes) -> bytes:
        return answers.pop()(digest)

    context = world.with_key(signer.key, sign)
    with serving(world.server_context(ssl.TLSVersion.TLSv1_3)) as server:
        with pytest.raises(ChipAbsent):
            greeted(context, server)
        assert greeted(context, server)[0] == GREETING


def test_an_answer_longer_than_a_signature_never_reaches_openssl(world: World) -> None:
    context = world.with_key(ec.generate_private_key(ec.SECP256R1()), lambda _digest: bytes(100_000))
    with (
        serving(world.server_context(ssl.TLSVersion.TLSv1_3)) as server,
        pytest.raises(ChipError, match="longer than any ECDSA signature"),
    ):
        greeted(context, server)


def test_asyncio_learns_of_a_failed_chip_at_once(world: World) -> None:
    context = world.with_key(ec.generate_private_key(ec.SECP256R1()), failing(ChipAbsent("nobody there")))

    async def connect(server: Server) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.open_connection(*server.address, ssl=context, server_hostname="localhost")

    with serving(world.server_context(ssl.TLSVersion.TLSv1_3)) as server, pytest.raises(ssl.SSLError) as caught:
        asyncio.run(connect(server))
    assert isinstance(caught.value.__cause__, ChipAbsent)


def test_a_server_that_wants_another_hash_gets_no_signature(world: World) -> None:
    signer = Signer(ec.generate_private_key(ec.SECP256R1()))
    context = world.with_key(signer.key, signer)
    strange = world.server_context(ssl.TLSVersion.TLSv1_2)
    pointer = openssl.context_pointer(strange)
    # The server itself signs with SHA-512 too; its client certificate must.
    assert openssl.library().SSL_CTX_ctrl(pointer, SSL_CTRL_SET_SIGALGS_LIST, 0, b"ECDSA+SHA512") == 1
    with serving(strange) as server, pytest.raises(ssl.SSLError):
        greeted(context, server)
    assert signer.signed == []


def test_threads_with_contexts_of_their_own_do_not_mix_keys(world: World) -> None:
    signers = [Signer(ec.generate_private_key(ec.SECP256R1())) for _ in range(4)]
    contexts = [world.with_key(signer.key, signer) for signer in signers]
    with serving(world.server_context(ssl.TLSVersion.TLSv1_3)) as server:
        threads = [threading.Thread(target=greeted, args=(context, server)) for context in contexts * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [len(signer.signed) for signer in signers] == [3] * 4
    assert server.refusals == []


def test_a_second_identity_replaces_the_first_one(world: World) -> None:
    first, second = (Signer(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
    context = world.with_key(first.key, first)
    chain = world.certificate(second.key.public_key())
    tls.use_chip_key(context, chain, second)
    with serving(world.server_context(ssl.TLSVersion.TLSv1_3)) as server:
        assert greeted(context, server)[0] == GREETING
    assert server.peers == [chain[0]]
    assert first.signed == []


def test_nothing_of_a_context_outlives_it(world: World) -> None:
    gc.collect()
    before = len(tls._keys_in_use)
    signer = Signer(ec.generate_private_key(ec.SECP256R1()))
    contexts = [world.with_key(signer.key, signer) for _ in range(10)]
    assert len(tls._keys_in_use) == before + 10
    del contexts
    gc.collect()
    assert len(tls._keys_in_use) == before


def another_context() -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    KEPT.append(context)
    return openssl.context_pointer(context)


KEPT: list[object] = [bytearray(4096)]


@pytest.mark.parametrize(
    "pointer",
    [
        pytest.param(lambda: 0, id="null"),
        pytest.param(lambda: 0x10, id="not mapped"),
        pytest.param(lambda: ctypes.cast(openssl.library().SSL_CTX_ctrl, ctypes.c_void_p).value or 0, id="code"),
        pytest.param(lambda: id(KEPT[0]), id="a Python object"),
        pytest.param(another_context, id="another context"),
    ],
)
def test_a_pointer_that_is_not_the_contexts_is_refused(pointer: Callable[[], int]) -> None:
    with pytest.raises(ChipError, match="keeps its SSL_CTX in another place") as caught:
        openssl.checked_pointer(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), pointer())
    assert caught.value.finding == "chip.tls.unsupported"


@pytest.mark.parametrize("mode", list(ssl.VerifyMode))
@pytest.mark.parametrize("version", [*TLS_VERSIONS, ssl.TLSVersion.MINIMUM_SUPPORTED])
def test_the_pointer_of_any_setting_is_found(mode: ssl.VerifyMode, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = mode
    context.minimum_version = version
    assert openssl.context_pointer(context)


def rsa_certificate(world: World) -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    operations = world.files.operations
    builder = authorities._small_end_entity(operations, operations.certificate.subject, key.public_key(), NOW, 1)
    return builder.sign(operations.key, SHA256()).public_bytes(Encoding.DER)


def odd_curve_certificate(world: World) -> bytes:
    return world.certificate(ec.generate_private_key(ec.SECP521R1()).public_key())[0]


@pytest.mark.parametrize("make", [rsa_certificate, odd_curve_certificate, lambda _world: b"\x30\x00"])
def test_a_certificate_that_no_chip_key_fits_is_refused(world: World, make: Callable[[World], bytes]) -> None:
    with pytest.raises(ChipError) as caught:
        tls.use_chip_key(world.client_context(), [make(world)], lambda digest: digest)
    assert caught.value.finding == "chip.tls.certificate"


def test_a_malformed_issuer_is_refused_with_openssls_reason(world: World) -> None:
    chain = [world.certificate(ec.generate_private_key(ec.SECP256R1()).public_key())[0], b"\x30\x00"]
    with pytest.raises(ChipError, match="asn1 encoding routines"):
        tls.use_chip_key(world.client_context(), chain, lambda digest: digest)


def test_the_self_test_passes_here_and_leaves_nothing_behind() -> None:
    gc.collect()
    before = len(tls._keys_in_use)
    tls.self_test()
    gc.collect()
    assert len(tls._keys_in_use) == before


def test_a_signature_for_the_wrong_length_is_refused_before_the_signer() -> None:
    tls._keys_in_use[1] = tls._KeyInUse(failing(AssertionError()), tls._CURVES["secp256r1"])
    try:
        with pytest.raises(ChipError, match="64 bytes"):
            tls._signature(1, bytes(64))
    finally:
        del tls._keys_in_use[1]


def test_threads_that_come_first_at_the_same_moment_share_one_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(*arguments: object) -> object:
        time.sleep(0.01)
        return made(*arguments)

    made = openssl.SIGN_CALLBACK
    monkeypatch.setattr(openssl, "SIGN_CALLBACK", slowly)
    OLD_HOOKS.append(tls._hook())
    tls._only_hook.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        hooks = list(pool.map(lambda _: tls._hook(), range(8)))
    assert len({id(hook) for hook in hooks}) == 1

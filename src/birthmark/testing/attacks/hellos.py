# SPDX-License-Identifier: Apache-2.0
"""
Handshakes of TLS clients as no library would send them: old versions, weak ciphers, a fallback, half a message.

Made by hand (RFC 5246 §7.4.1.2, RFC 7507), so that no policy of our own side refuses what the server should.
"""

import os
import socket
import struct
from typing import Final
from urllib.parse import urlsplit

from birthmark.net.errors import TLSRefused
from birthmark.testing.attacks.errors import CutOff

TLS_1_1, TLS_1_2 = 0x0302, 0x0303
GOOD_CIPHERS: Final = (0xC02B, 0xC02F)
"""ECDHE with AES-128-GCM, for ECDSA and RSA."""
WEAK_CIPHERS: Final = (0xC023, 0xC009, 0xC013, 0x009C, 0x003C, 0x002F, 0x000A, 0x0005)
"""CBC, no forward secrecy, 3DES, RC4: with ECDSA where there is such a one."""
FALLBACK_SCSV: Final = 0x5600
HALF: Final = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""The beginning of a ClientHello of 512 bytes."""
ANSWER_TIME_S: Final = 10.0
_HANDSHAKE, _ALERT, _CLIENT_HELLO = 22, 21, 1
_ALERTS: Final = {
    40: "handshake-failure",
    70: "protocol-version",
    71: "insufficient-security",
    86: "inappropriate-fallback",
}
"""RFC 8446 §6.2."""
_ALERT_BYTES: Final = 7
"""Of the record: its header, the alert's level and its description."""
_GROUPS, _FORMATS, _SIGNATURES = 10, 11, 13


def client_hello(version: int, ciphers: tuple[int, ...]) -> bytes:
    """Return the TLS record with a ClientHello that speaks at most this version, with these ciphers alone."""
    extensions = b"".join(
        struct.pack("!HH", kind, len(body)) + body
        for kind, body in (
            (_GROUPS, _vector(2, struct.pack("!3H", 29, 23, 24))),
            (_FORMATS, _vector(1, b"\x00")),
            (_SIGNATURES, _vector(2, struct.pack("!4H", 0x0403, 0x0503, 0x0401, 0x0804))),
        )
    )
    suites = _vector(2, struct.pack(f"!{len(ciphers)}H", *ciphers))
    body = struct.pack("!H", version) + os.urandom(32) + b"\x00" + suites + b"\x01\x00" + _vector(2, extensions)
    message = bytes([_CLIENT_HELLO]) + len(body).to_bytes(3, "big") + body
    return struct.pack("!BHH", _HANDSHAKE, 0x0301, len(message)) + message


def knock(url: str) -> socket.socket:
    """Return a connection to the server, without TLS."""
    where = urlsplit(url)
    return socket.create_connection((where.hostname or "", where.port or 0), ANSWER_TIME_S)


def shake_hands(url: str, hello: bytes) -> None:
    """
    Send the hello; return when the server goes along with it.

    Raises:
        TLSRefused: the server answered with an alert.
        CutOff: attack.failed, it answered with nothing.

    """
    with knock(url) as link:
        link.sendall(hello)
        answer = _read(link, _ALERT_BYTES)
    if answer[:1] == bytes([_HANDSHAKE]):
        return
    if len(answer) < _ALERT_BYTES or answer[0] != _ALERT:
        raise CutOff(f"no TLS: {answer.hex() or 'nothing'}")
    name = _ALERTS.get(answer[6], str(answer[6]))
    raise TLSRefused(f"the server's alert: {name}", finding=f"tls.{name}")


def _read(link: socket.socket, many: int) -> bytes:
    got = b""
    while len(got) < many:
        try:
            part = link.recv(many - len(got))
        except ConnectionError:
            return got
        if not part:
            return got
        got += part
    return got


def _vector(width: int, body: bytes) -> bytes:
    return len(body).to_bytes(width, "big") + body

# SPDX-License-Identifier: Apache-2.0
"""
A MES that is called: an HTTPS server in its own process, which takes each event once per key.

It shares no code with the sender: it verifies the signature by itself, keeps what it took as JSON lines in `taken`, and
answers as `orders.json` in its folder says: {"status", "headers", "of"} (to events with these members, or all), or
{"drop": true} (takes the event and hangs up before the answer).
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

TOLERANCE_S = 300
START_TIME_S = 20.0
Headers = dict[str, str]


class Receiver:
    """What the process holds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken = folder / "taken"
        lines = self._taken.read_text().splitlines() if self._taken.exists() else []
        self._keys = {json.loads(line)["idempotency_key"] for line in lines}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        orders = self._orders()
        if "status" in orders and json.loads(body).items() >= orders.get("of", {}).items():
            return await _answer(writer, orders["status"], orders.get("headers", {}), b"as I was told")
        if not _verified(self._folder, headers, body):
            return await _answer(writer, 401, {}, b"whose signature is that?")
        self._take(headers["idempotency-key"], body)
        return not orders.get("drop") and await _answer(writer, 204, {}, b"")

    def _orders(self) -> dict[str, Any]:
        path = self._folder / "orders.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _take(self, key: str, body: bytes) -> None:
        if key in self._keys:
            return
        assert json.loads(body)["idempotency_key"] == key
        with self._taken.open("ab") as file:
            file.write(body + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._keys.add(key)


def _verified(folder: Path, headers: Headers, body: bytes) -> bool:
    key, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    if key != headers["idempotency-key"] or abs(time.time() - int(stamp)) > TOLERANCE_S:
        return False
    content = key.encode() + b"." + stamp.encode() + b"." + body
    version, _, encoded = headers["webhook-signature"].partition(",")
    signature = base64.b64decode(encoded, validate=True)
    if version == "v1":
        secret = (folder / "secret").read_bytes().strip()
        return hmac.compare_digest(hmac.new(secret, content, hashlib.sha256).digest(), signature)
    public = load_pem_public_key((folder / "public.pem").read_bytes())
    assert version == "es256"
    assert isinstance(public, ec.EllipticCurvePublicKey)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public.verify(encode_dss_signature(r, s), content, ec.ECDSA(hashes.SHA256()))
    return True


async def _answer(writer: asyncio.StreamWriter, status: int, headers: Headers, body: bytes) -> bool:
    lines = [f"HTTP/1.1 {status} Told", *(f"{name}: {value}" for name, value in headers.items())]
    lines.append(f"Content-Length: {len(body)}")
    writer.write("\r\n".join((*lines, "", "")).encode() + body)
    await writer.drain()
    return True


async def _main(folder: Path, port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server = await asyncio.start_server(Receiver(folder).serve, "127.0.0.1", port, ssl=context, reuse_address=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


# --- the other side: for tests ---


class WebhookMES:
    """The receiver as a process that can be killed and started again in place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"https://127.0.0.1:{self.port}/mes/events?line=1"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, __file__, str(self.folder), str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()
            self._process = None

    def order(self, **orders: object) -> None:
        """Say how it is to answer from now on; nothing: as it should."""
        fresh = self.folder / "orders.new"
        fresh.write_text(json.dumps(orders))
        fresh.replace(self.folder / "orders.json")

    def taken(self) -> list[dict[str, Any]]:
        """Return what it took, in the order of its arrival."""
        path = self.folder / "taken"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def webhook_mes(folder: Path) -> Iterator[WebhookMES]:
    mes = WebhookMES(folder)
    mes.start()
    try:
        yield mes
    finally:
        mes.stop()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))

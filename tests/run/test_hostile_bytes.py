"""Whatever bytes a client sends: no traceback, one line a minute for each kind of fault, and the server goes on."""

import asyncio
import re
import socket
import struct
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.databases import on_postgres, put_sqlite
from tests.gateways import new_command
from tests.realtime.socket_clients import CLOSE, CONTINUATION, PING, TEXT, UPGRADE_HEADERS, frame, raw_polling
from tests.waiting import wait_until

_POST = b"POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\n"
_LEVEL = b"POST /api/v1/alerts/levels HTTP/1.1\r\nHost: x\r\n"
_SOCKET = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n"
_UPGRADE = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in UPGRADE_HEADERS.items()).encode()
_OPEN = _SOCKET + _UPGRADE + b"\r\n"


def _get(target: bytes, headers: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (target, headers)


REQUESTS = {
    "a post whose line breaks": b"POST /socket.io/?EIO=4&transport=polling\r\n&sid=x HTTP/1.1\r\nHost: x\r\n\r\n4",
    "a line that ends in nothing": b"POST\r\n\r\n",
    "TLS to a plain port": bytes.fromhex("16030100a5010000a103036163") + b"\0" * 60,
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SMB": b"\0\0\0\x85\xffSMBr\0\0\0\0",
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "nul bytes": b"\0" * 1000,
    "blank lines": b"\r\n" * 1000,
    "a nul in the target": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a nul in a header": _get(b"/health", b"X: a\0b\r\n"),
    "a header without a name": _get(b"/health", b": x\r\n"),
    "a header without a colon": _get(b"/health", b"nonsense\r\n"),
    "a header that is folded": _get(b"/health", b"X: a\r\n b\r\n"),
    "bytes that are no UTF-8 in a header": _get(b"/api/v1/info", b"Authorization: \xff\r\nOrigin: \xe9\r\nCookie: \xc3\x28\r\n"),
    "bytes that are no UTF-8 in the target": _get(b"/\xc3\x28?x=\xff"),
    "escapes that are none": _get(b"/api/v1/%zz/%?pairs=%&x=%f"),
    "escapes of no UTF-8": _get(b"/stream/%ff%fe?pairs=%c3%28"),
    "an escaped nul": _get(b"/api/v1/candles?instrument=EUR%00USD&start_time=%00"),
    "an escaped surrogate": _get(b"/api/v1/alerts?instrument=%ed%a0%80"),
    "escaped lines": _get(b"/api/v1/prices/EUR%0d%0aSet-Cookie:x=y"),
    "a path that climbs": _get(b"/assets/..%2f..%2fetc%2fpasswd"),
    "an empty query": _get(b"/socket.io/?"),
    "a session of nobody": _get(b"/socket.io/?EIO=4&transport=polling&sid=%00%ff"),
    "a proxied target": _get(b"http://[::1/x"),
    "a target with a fragment": _get(b"/#x"),
    "an unknown method": b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method of another kind": b"PROPFIND / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tunnel": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "two lengths": _POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n4",
    "a length that is none": _POST + b"Content-Length: -1\r\n\r\n",
    "a length beyond all": _POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "a length and chunks": _POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding that is none": _POST + b"Transfer-Encoding: gzip, identity\r\n\r\n",
    "a chunk that is none": _POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a chunk that is too long": _POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    "a body that breaks off": _POST + b"Content-Length: 100\r\n\r\n4",
    "a body of no UTF-8": _POST + b"Content-Length: 3\r\n\r\n4\xff\xfe",
    "a body of no JSON": _LEVEL + b"Content-Type: application/json\r\nContent-Length: 3\r\n\r\n{\xff}",
    "a type that is none": _LEVEL + b"Content-Type: \xff;=;\r\nContent-Length: 2\r\n\r\n{}",
    "a preflight of nothing": b"OPTIONS * HTTP/1.1\r\nHost: x\r\nOrigin: \x01null\r\n\r\n",
    "a header that is too large": _get(b"/health", b"X: " + b"x" * 100_000 + b"\r\n"),
    "a target that is too long": _get(b"/" + b"x" * 100_000),
    "a websocket without a key": _SOCKET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "a websocket with a key that is none": _OPEN.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"!"),
    "a websocket of an old version": _OPEN.replace(b": 13", b": 7"),
    "a websocket with bytes in its head": _OPEN.replace(b"Host: x", b"Host: x\r\nOrigin: \xff\xfe"),
    "a websocket with escapes that are none": _OPEN.replace(b"EIO=4", b"EIO=%zz&x=%ff"),
    "a websocket by POST": _OPEN.replace(b"GET", b"POST"),
    "a websocket elsewhere": _OPEN.replace(b"/socket.io/", b"/%ff/\xc3"),
    "frames without a mask": _OPEN + frame(TEXT, b"40", masked=False),
    "frames with reserved bits": _OPEN + frame(TEXT, b"40", first_bits=0xF0),
    "frames of an unknown kind": _OPEN + frame(0xB, b"x"),
    "frames that continue nothing": _OPEN + frame(CONTINUATION, b"x"),
    "text that is no UTF-8": _OPEN + frame(TEXT, b"4\xff"),
    "packets of all kinds": _OPEN + b"".join(frame(TEXT, packet) for packet in (b"40", b"42[]", b"42[[]]", b"4599999-[", b"0")),
    "a packet of Redis": _OPEN + frame(TEXT, b"40/\x00,{}") + frame(TEXT, b'42["subscribe",{"pairs":"\xed\xa0\x80"}]'),
    "a close frame of no UTF-8": _OPEN + frame(CLOSE, b"\x03\xe8\xff"),
    "a ping that is too long": _OPEN + frame(PING, b"x" * 126),
    "half a frame": _OPEN + frame(TEXT, b"x" * 100)[:50],
}  # fmt: skip


async def throw(url: str, sent: bytes, *, end: str) -> None:
    """Send bytes on a connection of its own and end it: read to the end, half-close, or reset it."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(sent)
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(0.3):
            await writer.drain()
            if end == "half":
                writer.write_eof()
            if end != "reset":
                await reader.read()
    if end == "reset":
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_no_bytes_of_a_client_write_a_traceback_or_flood_the_log(workers: str, valkey_url: str, tmp_path: Path) -> None:
    if not on_postgres():
        await put_sqlite(tmp_path / "data" / "gateway.db")
    settings = {"REDIS_URL": valkey_url, "LOG_LEVEL": "warning", "SHUTDOWN_TIMEOUT": "1", "PYTHONWARNINGS": "error"}
    async with new_command("gateway", "--port", "0", "--workers", workers, cwd=tmp_path, **settings) as process:
        url = await process.ready_url()
        before = len(process.output)
        async with raw_polling(url, joined=True) as polling, httpx.AsyncClient(base_url=url, trust_env=False) as http:
            for end in ("read", "half", "reset"):
                thrown = (sent.replace(b"%s", polling.sid.encode()) for sent in REQUESTS.values())
                await asyncio.gather(*(throw(url, sent, end=end) for sent in thrown))
            await asyncio.gather(*(throw(url, b"flood\r\n\r\n", end="reset") for _ in range(300)))
            assert (await http.get("/health/ready")).status_code == 200
            async with raw_polling(url, joined=True) as after:
                await after.send("1")
        await process.stop()
    lines = process.output[before:]
    kinds = Counter(re.sub(r"^\S+ \S+ ", "", line).partition(" (")[0] for line in lines)
    assert [line for line in lines if not re.match(r"[-\d]+ [\d:,]+ WARNING app\.", line)] == []
    assert all(count <= int(workers) for count in kinds.values()), kinds
    assert all("(from 127.0.0.1" in line for line in lines)
    assert 5 < len(kinds) < 40


async def test_more_connections_than_descriptors_are_one_line(valkey_url: str, tmp_path: Path) -> None:
    if not on_postgres():
        await put_sqlite(tmp_path / "data" / "gateway.db")
    settings = {"REDIS_URL": valkey_url, "LOG_LEVEL": "warning", "SHUTDOWN_TIMEOUT": "1"}
    async with new_command("gateway", "--port", "0", cwd=tmp_path, **settings) as process:
        url = await process.ready_url()
        before = len(process.output)
        running = psutil.Process(process.pid)
        most = running.rlimit(psutil.RLIMIT_NOFILE)
        running.rlimit(psutil.RLIMIT_NOFILE, (running.num_fds() + 10, most[1]))
        parts = urlsplit(url)
        with ExitStack() as opened:
            for _ in range(40):
                opened.enter_context(socket.create_connection((parts.hostname, parts.port)))
            await wait_until(lambda: len(process.output) > before, "it is said")
        running.rlimit(psutil.RLIMIT_NOFILE, most)
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
            assert (await http.get("/health/live")).status_code == 200
        await process.stop()
    [line] = process.output[before:]
    assert line.endswith("WARNING app.run.process: cannot accept connections: Too many open files")

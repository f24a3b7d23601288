"""Engine.IO over HTTP: sessions, polls and posts, and every request that is refused."""

import asyncio
import re
from pathlib import Path

import httpx
import orjson
import pytest

from tests.gateways import gateway
from tests.realtime.socket_clients import UPGRADE_HEADERS, RawPolling, event_of, raw_polling, raw_socket
from tests.realtime.stream_clients import raw_stream, tcp
from tests.realtime.watching import sessions_of, watched
from tests.waiting import wait_until

REFUSED: list[tuple[str, dict[str, str], int, str]] = [
    ("GET", {}, 400, "The client is using an unsupported version of the Socket.IO or Engine.IO protocols"),
    ("GET", {"EIO": "3"}, 400, "The client is using an unsupported version of the Socket.IO or Engine.IO protocols"),
    ("GET", {"EIO": "four"}, 400, "The client is using an unsupported version of the Socket.IO or Engine.IO protocols"),
    ("GET", {"EIO": "4", "transport": "carrier-pigeon"}, 400, "Invalid transport"),
    ("GET", {"EIO": "4", "transport": "websocket"}, 400, "Invalid websocket upgrade"),
    ("GET", {"EIO": "4", "sid": "unknown"}, 400, "Invalid session unknown"),
    ("GET", {"EIO": "4", "sid": "a\nb\x00<script>"}, 400, "Invalid session a\nb\x00<script>"),
    ("GET", {"EIO": "4", "transport": "polling", "j": "0"}, 400, "JSONP is not served"),
    ("GET", {"EIO": "4", "transport": "polling", "j": "x"}, 400, "JSONP is not served"),
    ("GET", {"EIO": "4"}, 400, "Invalid transport"),
    ("POST", {"EIO": "4", "transport": "polling"}, 400, "Invalid session None"),
    ("PUT", {"EIO": "4", "transport": "polling"}, 400, "Invalid method"),
    ("DELETE", {"EIO": "4", "transport": "polling"}, 400, "Invalid method"),
    ("POST", {"EIO": "4", "sid": "unknown"}, 400, "Invalid session unknown"),
]


async def test_requests_that_make_no_sense_are_refused_in_words(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, httpx.AsyncClient(base_url=running.url, trust_env=False) as http:
        for method, query, status, text in REFUSED:
            answer = await http.request(method, "/socket.io/", params=query)
            assert (answer.status_code, answer.json()) == (status, text), (method, query)
            assert answer.headers["content-type"] == "text/plain", "what a client sent is not to be read as a page"
        assert sessions_of(running) == {}


async def test_a_handshake_says_what_the_protocol_asks_for(valkey_url: str, tmp_path: Path) -> None:
    times = {"websocket_ping_interval": 12.5, "websocket_ping_timeout": 2.25}
    async with gateway(valkey_url, tmp_path, **times) as running:
        async with httpx.AsyncClient(base_url=running.url, trust_env=False) as http:
            answer = await http.get("/socket.io/", params={"EIO": "4", "transport": "polling"})
        assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
        assert answer.text.startswith("0")
        handshake = orjson.loads(answer.text[1:])
        assert handshake.pop("sid") in sessions_of(running)
        assert handshake == {"upgrades": ["websocket"], "pingInterval": 12500, "pingTimeout": 2250, "maxPayload": 1_100_000}
        async with raw_socket(running.url):
            assert len(sessions_of(running)) == 2


async def test_a_websocket_that_asks_for_polling_is_refused(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running:
        path = "/socket.io/?EIO=4&transport=polling"
        async with raw_stream(running.url, path, **UPGRADE_HEADERS) as connection:
            assert connection.status == 403
            await connection.read_to_end()
        assert sessions_of(running) == {}


async def test_a_session_that_is_websocket_only_takes_no_requests(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_socket(running.url, joined=True) as socket:
        [sid] = sessions_of(running)
        async with httpx.AsyncClient(base_url=running.url, trust_env=False) as http:
            polling = RawPolling(http, sid)
            for answer in (await polling.get(), await polling.post('42["ping"]')):
                assert (answer.status_code, answer.json()) == (400, "Unexpected HTTP request")
        assert await socket.answers() == []


async def test_a_poll_waits_until_there_is_something(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_polling(running.url, joined=True) as polling:
        waiting = asyncio.create_task(polling.poll())
        await wait_until(lambda: len(running.server.server_state.tasks) == 1, "the poll waits")
        await polling.send('42["get_subscriptions"]', '42["nonsense"]')
        first = event_of((await waiting)[0])
        assert first[0] == "subscriptions_info"


async def test_a_client_that_says_goodbye_ends_its_poll_and_its_session(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_polling(running.url, joined=True) as polling:
        waiting = asyncio.create_task(polling.poll())
        await wait_until(lambda: len(running.server.server_state.tasks) == 1, "the poll waits")
        await polling.send("1", '42["ping"]', "rubbish")
        assert await waiting == ["6"]
        assert len(running.hub.clients) == 0
        assert sessions_of(running) == {}
        assert (await polling.get()).json() == f"Invalid session {polling.sid}"


async def test_a_request_without_packets_is_no_harm(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_polling(running.url, joined=True) as polling:
        await polling.send()
        await polling.send('42["get_subscriptions"]')
        assert event_of((await polling.poll())[0])[0] == "subscriptions_info"


@pytest.mark.parametrize("body", [b"4" * 1_100_001, b"\x1e" * 2000, b"3" + b"\x1e3" * 300_000], ids=["bytes", "empty", "pongs"])
async def test_a_request_that_is_too_large_ends_the_session_and_keeps_no_other_waiting(
    body: bytes, valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(valkey_url, tmp_path, caplog) as on, raw_polling(on.url, joined=True) as polling:
        await polling.post(body)
        assert polling.sid not in sessions_of(on.running)
        assert (await polling.get()).status_code == 400


async def test_the_largest_request_is_read(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_polling(running.url, joined=True) as polling:
        packet = '42["request_price",{"instrument":"%s"}]'
        await polling.send(packet % ("x" * (1_100_000 - len(packet) + 2)))
        assert event_of((await polling.poll())[0])[0] == "price_error"


async def test_a_request_of_unknown_length_is_read_up_to_the_limit(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_polling(running.url, joined=True) as polling:
        target = f"/socket.io/?EIO=4&transport=polling&sid={polling.sid}"
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        reader, writer = await tcp(running.url)
        writer.write(head.encode() + b'6\r\n42["pi\r\n4\r\nng"]\r\n0\r\n\r\n')
        assert re.match(rb"HTTP/1.1 200 ", await reader.readline())
        assert [event_of(packet)[0] for packet in await polling.poll()] == ["pong"]
        writer.close()
        reader, writer = await tcp(running.url)
        writer.write(head.encode() + b"10000\r\n" + b"4" * 65_536 + b"\r\n")
        for _ in range(16):
            writer.write(b"10000\r\n" + b"4" * 65_536 + b"\r\n")
        assert re.match(rb"HTTP/1.1 413 ", await reader.readline())
        writer.close()
        assert polling.sid not in sessions_of(running)


@pytest.mark.parametrize("body", [b"\xff\xfe", b'42["\xc3\x28', b"abc", b"b!", b"2", b"\x1e3"])
async def test_what_is_no_packet_ends_the_session(body: bytes, valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_polling(running.url, joined=True) as polling:
        waiting = asyncio.create_task(polling.poll())
        await wait_until(lambda: len(running.server.server_state.tasks) == 1, "the poll waits")
        answer = await polling.post(body)
        assert (answer.status_code, answer.json()) == (400, "Invalid packet")
        assert await waiting == ["1"]
        assert polling.sid not in sessions_of(running)


async def test_an_upgrade_packet_out_of_place_is_answered_with_a_noop(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_socket(running.url, joined=True) as socket:
        await socket.send("5", "5probe")
        assert await socket.answers() == ["6", "6"]

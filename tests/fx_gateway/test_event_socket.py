"""The reader of a plain websocket: it resumes as that of an event stream does, and says what is wrong."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from app.errors import SourceError
from app.market.pair import DEFAULT_PAIRS, TrackedPairs
from app.realtime.contract.publication import publication
from app.realtime.log.log import EventLog, open_redis
from fx_gateway import event_socket
from fx_gateway.event_socket import EventSocket
from fx_gateway.event_stream import Connected, Lost, StreamEvent, stream_events
from tests.gateways import gateway
from tests.tcp_server import tcp_server
from tests.waiting import wait_until


async def first_state(url: str) -> object:
    """The first state of a stream."""
    async with asyncio.timeout(10), aclosing(stream_events(url, ["EUR_USD"], connect=EventSocket)) as states:
        return await anext(states)


async def test_a_reader_that_a_gateway_cuts_off_misses_nothing(
    valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_socket, "_RETRY_MS", 20)
    news = [publication("data_ready", {"data_type": "prices"}, TrackedPairs(DEFAULT_PAIRS))] * 10
    published: list[str] = []
    got: list[str] = []
    lost = 0
    async with gateway(valkey_url, tmp_path) as running, open_redis(valkey_url) as redis:
        publisher = EventLog(redis).publisher()
        async with asyncio.timeout(30), aclosing(stream_events(running.url, [], connect=EventSocket)) as states:
            async for state in states:
                match state:
                    case StreamEvent("data_ready"):
                        got.append(state.last_event_id)
                        if len(got) % 7 == 0 and lost < 3:
                            for client in list(running.hub.clients):
                                running.hub.cut(client, "a test")
                    case Connected() | Lost() if lost < 3:
                        lost += isinstance(state, Lost)
                        published += await publisher.publish(news)
                if lost == 3 and len(got) == len(published):
                    break
        assert got == published
        await wait_until(lambda: len(running.hub.clients) == 0, "the gateway has seen the reader leave")


async def test_a_gateway_that_stops_says_when_to_come_back(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path) as running,
        asyncio.timeout(20),
        aclosing(stream_events(running.url, [], connect=EventSocket)) as states,
    ):
        assert await anext(states) == Connected()
        running.app.stop_streaming()
        for connection in list(running.server.server_state.connections):
            connection.shutdown()
        while not isinstance(state := await anext(states), Lost):
            pass
        assert state == Lost("the gateway closed the connection", state.retry_in)
        assert 0.25 <= state.retry_in < 7.5


async def test_a_refusal_is_told_as_the_gateway_words_it(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running:
        running.hub.max_clients = 0
        with pytest.raises(SourceError, match=r"^no gateway at http://.*: Max clients reached"):
            await first_state(running.url)
        running.hub.max_clients = 1
        with pytest.raises(SourceError, match=r"refuses the websocket: Invalid instrument: XXX"):
            async with aclosing(stream_events(running.url, ["XXX"], connect=EventSocket)) as states:
                await anext(states)


@pytest.mark.parametrize("url", ["localhost:5001", "ftp://localhost", "", "http://localhost:port"])
async def test_what_is_no_url_is_told(url: str) -> None:
    with pytest.raises(SourceError, match="not the URL of a gateway"):
        await first_state(url)


async def test_what_is_no_gateway_is_told() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async with tcp_server(serve) as port:
        with pytest.raises(SourceError, match="refuses the websocket: status 404"):
            await first_state(f"http://127.0.0.1:{port}")
    with pytest.raises(SourceError, match=r"^no gateway at http://127\.0\.0\.1:\d+: cannot connect"):
        await first_state(f"http://127.0.0.1:{port}")

"""Real ticks through every client there is: the same ids, in the same order, with the same bytes."""

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from app.realtime.log.log import EventLog, open_redis
from tests.end_to_end.recorders import (
    Record,
    chromium_eventsource,
    curl,
    fetch_events,
    node_eventsource,
    node_socketio,
    node_websocket,
    python_socketio,
)
from tests.gateways import command
from tests.untraced import UNTRACED
from tests.waiting import wait_until

PAIRS = ("EUR_USD", "NZD_USD")


@pytest.mark.timeout(500)
async def test_every_client_gets_every_tick_once_in_order_and_unchanged(
    valkey_url: str, fx_data: Path, node: Path, chromium: Path, tmp_path: Path
) -> None:
    files = [fx_data / "oanda" / "tick" / pair / "20140505_quote.zip" for pair in ("eurusd", "nzdusd")]
    # A client that shares two cores with five others stalls now and then: it may read late and answer pings late, but must
    # not lose prices.
    patience = {"SEND_BUFFER_BYTES": "4000000", "WEBSOCKET_PING_TIMEOUT": "120"}
    environment = {"REDIS_URL": valkey_url, "DATA_DIR": str(tmp_path), **patience, **UNTRACED}
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(command("gateway", "--port", "0", cwd=tmp_path, **environment))
        url = await gateway.ready_url()
        records = [
            Record(kind) for kind in ("python", "node websocket", "node polling", "node sse", "chromium", "curl", "node plain")
        ]
        clients = [
            python_socketio(url, PAIRS, None, records[0]),
            node_socketio(url, PAIRS, None, records[1], node, "websocket"),
            node_socketio(url, PAIRS, None, records[2], node, "polling"),
            node_eventsource(url, PAIRS, None, records[3], node),
            chromium_eventsource(url, PAIRS, None, records[4], chromium),
            curl(url, PAIRS, None, records[5]),
            node_websocket(url, PAIRS, None, records[6], node),
        ]
        tasks = [asyncio.create_task(client) for client in clients]
        try:
            await wait_until(lambda: all(record.opened for record in records), "every client is subscribed", 60)
            replay = [argument for file in files for argument in ("--replay", str(file))]
            feed = await stack.enter_async_context(command("feed", *replay, "--speed", "1200", cwd=tmp_path, **environment))
            assert await feed.wait(240) == 0, feed.text

            expected = await _logged(valkey_url)
            assert len(expected) > 50_000

            def have_all() -> bool:
                return all(record.closed or record.last_id == expected[-1][0] for record in records)

            await wait_until(have_all, lambda: f"every client has the last tick, {expected[-1][0]}:\n{_told(records)}", 150)
            assert not any(record.closed for record in records), _told(records)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        payloads = [payload for _, payload in expected]
        whole = [record for record in records if record.kind != "node polling"]
        for record in whole:
            assert record.payloads == payloads, f"{record.kind}: {_difference(record.payloads, payloads)}"
        [polling] = [record for record in records if record not in whole]
        assert _is_part(polling.payloads, payloads), _told(records)
        # A polling client that has too little of the processor for so many prices a second may get fewer, which are counted.
        assert len(payloads) - len(polling.payloads) == await _conflated(url)
        assert [event async for event in fetch_events(url, PAIRS)] == expected
        assert await gateway.stop() == 0
        assert "Traceback" not in gateway.text


async def _logged(valkey_url: str) -> list[tuple[str, bytes]]:
    """Every price in the log, straight from the log."""
    async with open_redis(valkey_url) as redis:
        reader = EventLog(redis).reader()
        logged = []
        while events := await reader.read(5000):
            logged += [(event.id, event.payload) for event in events if event.is_price]
        return logged


def _is_part(got: list[bytes], expected: list[bytes]) -> bool:
    """Whether everything that was got was expected, in this order, and the last is the last."""
    rest = iter(expected)
    return all(payload in rest for payload in got) and got[-1:] == expected[-1:]


async def _conflated(url: str) -> int:
    """How many prices the gateway has left out, of all clients."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        text = (await client.get("/metrics")).text
    return int(float(re.findall(r"^fx_conflated_prices_total(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE)[0]))


def _told(records: list[Record]) -> str:
    return "\n".join(map(str, records))


def _difference(got: list[bytes], expected: list[bytes]) -> str:
    """Where two streams part, in a line."""
    place = next(
        (n for n, pair in enumerate(zip(got, expected, strict=False)) if pair[0] != pair[1]),
        min(len(got), len(expected)),
    )
    return f"{len(got)} of {len(expected)}, apart at {place}: {got[place : place + 1]} for {expected[place : place + 1]}"

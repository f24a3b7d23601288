"""Clients of each transport, killed at random moments and resumed from their last id: every event exactly once."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.market.clock import utc_now
from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs
from app.market.quote import Quote
from app.realtime.contract.event import Draft, price_update
from app.realtime.contract.publication import publication
from app.realtime.log.log import EventLog, Publisher, open_redis
from tests.end_to_end.recorders import Record, curl, node_eventsource, node_socketio, node_websocket, python_socketio
from tests.gateways import gateway
from tests.waiting import wait_until

PAIRS = ("EUR_USD", "NZD_USD", "USD_JPY")
LIVES = 10

Client = Callable[[str, tuple[str, ...], str | None, Record], Coroutine[Any, Any, None]]


@pytest.mark.parametrize("kind", ["python", "python polling", "node", "node polling", "node sse", "node plain", "curl"])
async def test_a_client_killed_ten_times_has_every_event_exactly_once(
    kind: str, valkey_url: str, node: Path, tmp_path: Path
) -> None:
    clients: dict[str, Client] = {
        "python": python_socketio,
        "python polling": partial(python_socketio, transport="polling"),
        "node": partial(node_socketio, node=node),
        "node polling": partial(node_socketio, node=node, transport="polling"),
        "node sse": partial(node_eventsource, node=node),
        "node plain": partial(node_websocket, node=node),
        "curl": curl,
    }
    client = clients[kind]
    chance = random.Random(20140505)
    async with gateway(valkey_url, tmp_path) as running, open_redis(valkey_url) as redis:
        log = EventLog(redis)
        publisher = log.publisher()
        first = (await publisher.publish([_tick("EUR_USD", 0)]))[0]
        publishing = asyncio.create_task(_publish(publisher, chance))
        record, since = Record(kind), first
        try:
            for _ in range(LIVES):
                enough = len(record.payloads) + chance.randrange(1, 60)
                await _live(client(running.url, PAIRS, since, record), partial(_has, record, enough, len(record.opened) + 1))
                since = record.last_id or since
        finally:
            publishing.cancel()
        [end] = await publisher.publish([_tick("EUR_USD", 1)])
        await _live(client(running.url, PAIRS, since, record), lambda: record.last_id == end)

        expected, reader = [], log.reader(first)
        while events := await reader.read(1000):
            expected += [event.payload for event in events if not event.pairs or set(event.pairs) & set(PAIRS)]
        expected = [payload for payload in expected if b'"role"' not in payload]
        # Between connecting and subscribing, a client receives events for all clients, without an id.
        assert [payload for payload in record.payloads if payload.startswith(b'{"id"')] == expected
        assert all(opened["recovered"] is True for opened in record.opened)
        assert len(record.opened) == LIVES + 1


async def _live(client: Coroutine[Any, Any, None], until: Callable[[], bool]) -> None:
    """A client's life, ended without warning."""
    life = asyncio.create_task(client)
    try:
        await wait_until(lambda: until() or life.done(), "the client has got what it lives for", 30)
        assert until(), f"the client ended by itself: {life}"
    finally:
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life


def _has(record: Record, payloads: int, opened: int) -> bool:
    return len(record.payloads) >= payloads and len(record.opened) >= opened


async def _publish(publisher: Publisher, chance: random.Random) -> None:
    """Ticks of every pair, with an occasional event of two pairs or for all clients."""
    n = 1
    while True:
        drafts: list[Draft] = [_tick(chance.choice(DEFAULT_PAIRS), n + k) for k in range(chance.randrange(1, 12))]
        if chance.random() < 0.1:
            drafts.append(_published("data_ready", {"data_type": "prices", "count": n}))
        if chance.random() < 0.1:
            body = {"pair1": "EUR_USD", "pair2": "NZD_USD", "correlation": 0.7, "threshold": 0.6}
            drafts.append(_published("correlation_alert", body))
        await publisher.publish(drafts)
        n += len(drafts)
        await asyncio.sleep(chance.random() * 0.02)


def _published(type: str, body: dict[str, object]) -> Draft:
    return publication(type, body, TrackedPairs(DEFAULT_PAIRS))


def _tick(pair: str, n: int) -> Draft:
    bid = Decimal(100_000 + n % 50_000) / 100_000
    return price_update(Quote(CurrencyPair.parse(pair), bid, bid + Decimal("0.001"), utc_now(), "replay"), utc_now())

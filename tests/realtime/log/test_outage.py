"""The log while Valkey is stopped, killed, paused or cut off, and afterwards."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.errors import LogUnavailable
from app.realtime.contract.event import ORIGIN, Event
from app.realtime.log.log import EventLog, open_redis
from tests.building import ready_draft
from tests.private_valkey import PrivateValkey
from tests.waiting import wait_until


@asynccontextmanager
async def impatient_log(url: str) -> AsyncGenerator[EventLog]:
    """A log whose questions wait a moment only, so that a paused server is noticed soon."""
    redis = Redis.from_url(url, socket_timeout=0.2, retry=Retry(NoBackoff(), 0))
    try:
        yield EventLog(redis)
    finally:
        await redis.aclose()


async def everything(log: EventLog) -> list[Event]:
    reader = log.reader(ORIGIN, 0)
    events: list[Event] = []
    while page := await reader.read():
        events += page
    return events


def counts(events: list[Event]) -> list[int]:
    return [orjson.loads(event.bare)["count"] for event in events]


QUESTIONS: list[Callable[[EventLog], object]] = [
    lambda log: log.append("one", 1, [ready_draft()]),
    lambda log: log.publisher().publish([ready_draft()], patience=0),
    lambda log: log.read(ORIGIN, 10),
    lambda log: log.reader().read(),
    lambda log: log.sequence_of("1-1"),
    lambda log: log.tail(),
    lambda log: log.starts_at_the_beginning(),
    lambda log: log.advance_past("1-1"),
    lambda log: log.ping(),
]
NAMES = ["append", "publish", "read", "reader", "sequence_of", "tail", "starts_at_the_beginning", "advance", "ping"]


async def put(question: Callable[[EventLog], object], log: EventLog) -> None:
    answer = question(log)
    assert asyncio.iscoroutine(answer)
    await answer


@pytest.mark.parametrize("question", QUESTIONS, ids=NAMES)
async def test_while_valkey_is_stopped_the_log_is_unavailable_and_afterwards_it_is_back(
    valkey: PrivateValkey, question: Callable[[EventLog], object]
) -> None:
    async with open_redis(valkey.url) as redis:
        log = EventLog(redis)
        await put(question, log)
        valkey.stop()
        for _ in range(2):
            with pytest.raises(LogUnavailable, match=r"^Redis does not answer: ConnectionError$"):
                await put(question, log)
        valkey.start()
        await put(question, log)


@pytest.mark.parametrize("question", QUESTIONS, ids=NAMES)
async def test_while_valkey_is_paused_the_log_is_unavailable_and_afterwards_it_is_back(
    valkey: PrivateValkey, question: Callable[[EventLog], object]
) -> None:
    async with impatient_log(valkey.url) as log:
        await put(question, log)
        valkey.pause()
        with pytest.raises(LogUnavailable, match=r"^Redis does not answer: TimeoutError$"):
            await put(question, log)
        valkey.resume()
        await put(question, log)


async def test_a_key_of_the_wrong_kind_makes_the_log_unavailable(valkey_url: str) -> None:
    async with open_redis(valkey_url) as redis:
        await redis.set("fx:events", "another program's")
        with pytest.raises(LogUnavailable, match="ResponseError"):
            await EventLog(redis).tail()


async def test_a_reader_that_waits_notices_that_valkey_dies_and_goes_on_afterwards(valkey: PrivateValkey) -> None:
    async with open_redis(valkey.url) as redis:
        log = EventLog(redis)
        publisher, reader = log.publisher(), log.reader()
        await publisher.publish([ready_draft(1)])
        await reader.read()
        waiting = asyncio.create_task(reader.read(block_ms=60_000))
        await wait_until(lambda: is_blocked(redis), "the reader waits")
        valkey.kill()
        with pytest.raises(LogUnavailable):
            await waiting
        valkey.start()
        await publisher.publish([ready_draft(2)])
        assert counts(await reader.read()) == [2]


async def is_blocked(redis: Redis) -> bool:
    return bool((await redis.info("clients"))["blocked_clients"])


async def test_a_reader_that_waits_survives_that_its_connection_is_dropped(valkey_url: str) -> None:
    async with open_redis(valkey_url) as redis, open_redis(valkey_url) as other:
        log = EventLog(redis)
        reader = log.reader()
        waiting = asyncio.create_task(reader.read(block_ms=200))
        await wait_until(lambda: is_blocked(other), "the reader waits")
        await log.reconnect()
        with suppress(LogUnavailable):
            assert await waiting == []
        await EventLog(other).publisher().publish([ready_draft(1)])
        assert counts(await reader.read()) == [1]


# ------------------------------------------------------------------ publishing


async def test_a_publisher_waits_for_valkey_as_long_as_its_patience_lasts(valkey: PrivateValkey) -> None:
    async with open_redis(valkey.url) as redis:
        log = EventLog(redis)
        publisher = log.publisher()
        valkey.kill()
        clock = asyncio.get_running_loop().time
        began = clock()
        with pytest.raises(LogUnavailable):
            await publisher.publish([ready_draft(1)], patience=0.3)
        assert clock() - began < 10
        publishing = asyncio.create_task(publisher.publish([ready_draft(2)], patience=math.inf))
        await wait_until(lambda: publisher._one_at_a_time.locked(), "it tries")
        valkey.start()
        [id] = await publishing
        assert [(event.id, count) for event in await everything(log) for count in counts([event])] == [(id, 2)]


async def test_across_kills_nothing_acknowledged_is_lost_and_nothing_is_there_twice(valkey: PrivateValkey) -> None:
    published: list[tuple[str, int]] = []
    async with open_redis(valkey.url) as redis:
        log = EventLog(redis)

        async def publish(name: int) -> None:
            publisher = log.publisher()
            for batch in range(150):
                numbers = [name * 10_000 + batch * 10 + place for place in range(1 + batch % 3)]
                ids = await publisher.publish([ready_draft(number) for number in numbers], patience=math.inf)
                published.extend(zip(ids, numbers, strict=True))

        publishing = [asyncio.create_task(publish(name)) for name in range(4)]
        for total in (100, 400, 700):
            await wait_until(lambda total=total: len(published) >= total, f"{total} events are published")  # type: ignore[misc]
            valkey.kill()
            valkey.start()
        await asyncio.gather(*publishing)
        events = await everything(log)
    assert len(published) == 4 * 300
    assert Counter(counts(events)) == Counter(number for _, number in published)
    assert {(event.id, count) for event, count in zip(events, counts(events), strict=True)} == set(published)
    assert [event.seq for event in events] == list(range(1, 1201))
    for name in range(4):
        own = [number for number in counts(events) if number // 10_000 == name]
        assert own == sorted(own)


async def test_across_a_pause_nothing_is_there_twice(valkey: PrivateValkey) -> None:
    async with impatient_log(valkey.url) as log:
        publisher = log.publisher()
        await publisher.publish([ready_draft(1)])
        valkey.pause()  # when it goes on it executes what was sent meanwhile, although the answer is no longer awaited
        publishing = asyncio.create_task(publisher.publish([ready_draft(2)], patience=math.inf))
        with pytest.raises(LogUnavailable):
            await log.ping()
        with pytest.raises(LogUnavailable):
            await log.ping()
        assert not publishing.done()
        valkey.resume()
        await publishing
        await publisher.publish([ready_draft(3)])
        assert counts(await everything(log)) == [1, 2, 3]


@pytest.mark.parametrize("lost", [1, 2, 5])
async def test_where_the_answer_is_lost_on_the_way_the_batch_is_not_written_again(valkey: PrivateValkey, lost: int) -> None:
    async with cut_off_after_writing(valkey, lost) as url, open_redis(url) as redis:
        log = EventLog(redis)
        publisher = log.publisher()
        ids = await publisher.publish([ready_draft(1), ready_draft(2)], patience=math.inf)
        await publisher.publish([ready_draft(3)])
        events = await everything(log)
        assert counts(events) == [1, 2, 3]
        assert [event.id for event in events[:2]] == ids


@asynccontextmanager
async def cut_off_after_writing(valkey: PrivateValkey, times: int) -> AsyncGenerator[str]:
    """The way to Valkey over which the first answers to a batch do not come back: the connection breaks instead."""
    left = times
    carrying: set[asyncio.Task[object] | None] = set()

    async def carry(client: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        carrying.add(asyncio.current_task())
        server, server_writer = await asyncio.open_unix_connection(valkey.url.removeprefix("unix://"))
        asked = b""

        async def there() -> None:
            nonlocal asked
            while data := await client.read(65_536):
                asked = data
                server_writer.write(data)

        async def back() -> None:
            nonlocal left
            while data := await server.read(65_536):
                if b"EVALSHA" in asked and not data.startswith(b"-") and left:
                    left -= 1
                    return
                client_writer.write(data)

        ways = [asyncio.create_task(there()), asyncio.create_task(back())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for writer in (client_writer, server_writer):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    with TemporaryDirectory(prefix="fx-") as folder:
        path = Path(folder) / "way.sock"
        async with await asyncio.start_unix_server(carry, path):
            yield f"unix://{path}"
        await asyncio.gather(*filter(None, carrying))
    assert left == 0, "every answer that was to be lost was lost"


async def test_after_a_cancelled_question_the_next_one_gets_its_own_answer(valkey_url: str) -> None:
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        ids = await log.publisher().publish([ready_draft(1)])
        reading = asyncio.create_task(log.read(ids[0], 10, block_ms=60_000))
        await wait_until(lambda: is_blocked(redis), "the reader waits")
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await log.tail() == ids[0]
        assert await log.sequence_of(ids[0]) == 1

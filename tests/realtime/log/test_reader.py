"""What a reader makes of a log in which something is missing, or to which another program wrote."""

from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from app.realtime.contract.event import ORIGIN, Event, cursor_order
from app.realtime.log.log import EventLog, LogReader, Publisher, open_redis
from tests.building import price_draft, ready_draft
from tests.private_valkey import PrivateValkey
from tests.realtime.listening import lose_the_log

Told = list[tuple[str, int | None]]


@pytest.fixture
def publisher(log: EventLog) -> Publisher:
    return log.publisher()


def told(events: list[Event]) -> Told:
    """Types with sequence numbers; of a gap the number of events missed."""
    return [(event.type, event.seq if event.is_cursor else orjson.loads(event.bare)["missed"]) for event in events]


def ready(*numbers: int) -> Told:
    return [("data_ready", number) for number in numbers]


@pytest.mark.parametrize("protocol", [2, 3])
async def test_it_reads_everything_once_and_in_order(valkey_url: str, protocol: int) -> None:
    async with open_redis(f"{valkey_url}?protocol={protocol}") as redis:
        log = EventLog(redis)
        ids = await log.publisher().publish([price_draft(), *[ready_draft()] * 6])
        reader = log.reader()
        pages = [await reader.read(3) for _ in range(4)]
        assert [len(page) for page in pages] == [3, 3, 1, 0]
        events = [event for page in pages for event in page]
        assert [event.id for event in events] == ids
        assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6, 7]
        assert events[0].bare == price_draft().data
        assert reader.cursor == ids[-1]


async def test_it_waits_for_the_next_event(log: EventLog, publisher: Publisher) -> None:
    reader = log.reader()
    assert await reader.read(block_ms=1) == []
    await publisher.publish([ready_draft()])
    assert told(await reader.read(block_ms=5000)) == ready(1)


async def test_it_goes_on_after_a_cursor(log: EventLog, publisher: Publisher) -> None:
    ids = await publisher.publish([ready_draft()] * 4)
    assert told(await log.reader(ids[1], 2).read()) == ready(3, 4)
    assert told(await log.reader(ids[1]).read()) == ready(3, 4)


async def test_a_reader_that_knows_no_number_misses_nothing_it_knows_of(
    redis: Redis, log: EventLog, publisher: Publisher
) -> None:
    await publisher.publish([ready_draft()] * 4)
    await redis.xtrim("fx:events", maxlen=2, approximate=False)
    assert told(await log.reader().read()) == ready(3, 4)
    assert told(await log.reader(ORIGIN, 0).read()) == [("gap", 2), *ready(3, 4)]


async def test_what_was_trimmed_away_is_a_gap_with_its_size(redis: Redis, log: EventLog, publisher: Publisher) -> None:
    reader = log.reader()
    first = await publisher.publish([ready_draft()] * 3)
    await reader.read()
    ids = await publisher.publish([ready_draft()] * 7)
    await redis.xtrim("fx:events", maxlen=2, approximate=False)
    events = await reader.read()
    assert told(events) == [("gap", 5), *ready(9, 10)]
    notice = orjson.loads(events[0].payload)
    assert (notice["after"], notice["before"]) == (first[-1], ids[-2])
    assert events[0].order == events[1].order


async def test_a_deleted_entry_in_the_middle_is_a_gap_of_one(redis: Redis, log: EventLog, publisher: Publisher) -> None:
    ids = await publisher.publish([ready_draft()] * 5)
    await redis.xdel("fx:events", ids[2])
    assert told(await log.reader().read()) == [*ready(1, 2), ("gap", 1), *ready(4, 5)]


async def test_every_hole_is_reported(redis: Redis, log: EventLog, publisher: Publisher) -> None:
    ids = await publisher.publish([ready_draft()] * 9)
    await redis.xdel("fx:events", *(ids[place] for place in (0, 2, 5, 6)))
    reader = log.reader(ORIGIN, 0)
    assert told(await reader.read()) == [("gap", 1), *ready(2), ("gap", 1), *ready(4, 5), ("gap", 2), *ready(8, 9)]
    await publisher.publish([ready_draft()])
    assert told(await reader.read()) == ready(10)


async def test_after_everything_was_deleted_the_gap_is_of_unknown_size(redis: Redis, log: EventLog, publisher: Publisher) -> None:
    reader = log.reader()
    await publisher.publish([ready_draft()] * 3)
    await reader.read()
    await lose_the_log(redis, reader.cursor)
    await publisher.publish([ready_draft()] * 2)
    assert told(await reader.read()) == [("gap", None), *ready(1, 2)]


async def test_a_server_that_comes_back_without_its_data_is_a_gap(valkey: PrivateValkey) -> None:
    async with open_redis(valkey.url) as redis:
        log = EventLog(redis)
        publisher, reader = log.publisher(), log.reader()
        await publisher.publish([ready_draft()] * 3)
        await reader.read()
        valkey.kill()
        for file in (valkey._data / "appendonlydir").iterdir():
            file.unlink()
        valkey.start()
        assert await reader.read() == []
        await publisher.publish([ready_draft()] * 2)
        assert told(await reader.read()) == [("gap", None), *ready(1, 2)]


async def test_a_server_that_comes_back_with_its_data_is_no_gap(valkey: PrivateValkey) -> None:
    async with open_redis(valkey.url) as redis:
        log = EventLog(redis)
        publisher, reader = log.publisher(), log.reader()
        await publisher.publish([ready_draft()] * 3)
        await reader.read(2)
        valkey.kill()
        valkey.start()
        await publisher.publish([ready_draft()] * 2)
        assert told(await reader.read()) == ready(3, 4, 5)


# ----------------------------------------------------- what others have written


@pytest.mark.parametrize(
    "fields",
    [
        {"a": "b"},
        {"n": "2", "t": "data_ready"},
        {"t": "data_ready", "d": '{"a":1}'},
        {"n": "2", "d": '{"a":1}'},
        {"n": "two", "t": "data_ready", "d": '{"a":1}'},
        {"n": "0", "t": "data_ready", "d": '{"a":1}'},
        {"n": "9" * 400, "t": "data_ready", "d": ready_draft().data},
        {"n": "9" * 5000, "t": "data_ready", "d": ready_draft().data},
        {"n": "2", "t": b"\xff", "d": '{"a":1}'},
        {"n": "2", "t": "two words", "d": '{"a":1}'},
        {"n": "2", "t": "heartbeat", "d": "rubbish"},
        {"n": "2", "t": "heartbeat", "d": '"text"'},
        {"n": "2", "t": "data_ready", "d": '{\n  "a": 1\n}'},
        {"n": "2", "t": "price_update", "d": '{"a":1}'},
        {"n": "2", "t": "price_update", "d": '{"instrument":["EUR_USD"]}'},
        {"n": "2", "t": "correlation_alert", "d": '{"pair1":"EUR_USD"}'},
    ],
)
async def test_an_entry_of_another_program_is_skipped_with_a_warning(
    redis: Redis,
    log: EventLog,
    publisher: Publisher,
    caplog: pytest.LogCaptureFixture,
    fields: dict[Any, Any],
) -> None:
    reader = log.reader()
    await publisher.publish([ready_draft()])
    foreign = await redis.xadd("fx:events", fields)
    await publisher.publish([ready_draft()])
    assert told(await reader.read()) == ready(1, 2)
    assert reader.malformed == 1
    assert isinstance(foreign, bytes)
    [message] = [record.getMessage() for record in caplog.records if record.name == "app.realtime.log.log"]
    assert message == f"skipping entry {foreign.decode()} of the log: not an event"


async def test_reading_goes_on_past_a_page_of_foreign_entries(redis: Redis, log: EventLog, publisher: Publisher) -> None:
    reader = log.reader()
    for number in range(1, 4):
        await redis.xadd("fx:events", {"a": "b"}, id=f"{number}-0")
    assert await reader.read(2) == []
    assert reader.cursor == "2-0"
    await publisher.publish([ready_draft()])
    assert told(await reader.read(2)) == ready(1)


# --------------------------------------------------------------------- clocks


async def newest(log: EventLog) -> tuple[int, int]:
    return cursor_order(await log.tail())


@pytest.mark.parametrize("last", ["1000-2", "1000-3", "1001-0"])
async def test_a_log_that_is_not_behind_is_not_advanced(redis: Redis, log: EventLog, last: str) -> None:
    await redis.xadd("fx:events", {"n": 1, "t": "heartbeat", "d": "{}"}, id=last)
    for cursor in (ORIGIN, "999-99", "1000-1", "1000-2"):
        await log.advance_past(cursor)
    assert await redis.xlen("fx:events") == 1


async def test_an_empty_log_is_past_the_origin(redis: Redis, log: EventLog) -> None:
    await log.advance_past(ORIGIN)
    assert await redis.dbsize() == 0


@pytest.mark.parametrize("last", [None, "1000-2", "2000-6"])
async def test_a_log_that_is_behind_is_lifted_past_the_cursor(redis: Redis, log: EventLog, last: str | None) -> None:
    if last is not None:
        await redis.xadd("fx:events", {"n": 1, "t": "heartbeat", "d": "{}"}, id=last)
    await log.advance_past("2000-7")
    assert await newest(log) == (2000, 8)
    [*_, (_, fields)] = await log.read(ORIGIN, 10)
    assert fields[b"t"] == b"heartbeat"
    assert {name: orjson.loads(fields[b"d"])[name] for name in ("node", "role")} == {"node": "", "role": "log"}


async def test_where_the_clock_was_set_back_and_the_log_lost_new_events_still_come_behind_old_ones(
    redis: Redis, log: EventLog, publisher: Publisher
) -> None:
    years_ahead = "4000000000000-5"
    reader: LogReader = log.reader(years_ahead, 77)
    await publisher.publish([ready_draft()])
    assert await reader.read() == []
    await log.advance_past(years_ahead)
    await publisher.publish([ready_draft()] * 2)
    events = await reader.read()
    assert told(events) == [("gap", None), ("heartbeat", 2), *ready(3, 4)]
    orders = [event.order for event in events[1:]]
    assert orders == sorted(set(orders))
    assert orders[0] > cursor_order(years_ahead)
    await log.advance_past(years_ahead)
    assert await reader.read() == []

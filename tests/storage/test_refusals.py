from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from sqlalchemy import select

from app.errors import DatabaseUnavailable
from app.market.bars.candle import Granularity
from app.market.quote import Quote
from app.sources import SOURCES
from app.storage.database.database import Database
from app.storage.database.tables import AlertRow, EventRow, TickRow, table_of
from app.storage.market.candles import Candles
from app.storage.recording import Batch, Recording, StoredAlert, StoredEvent, Tick
from app.storage.refusals import RefusedEvent, RefusedEvents
from tests.storage.bars import EUR_USD, bar

_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
_MS = int(_NOON.timestamp() * 1000)


def _tick(number: int, source: str = "oanda") -> Tick:
    return Tick(f"{_MS}-{number}", Quote(EUR_USD, Decimal("1.1"), Decimal("1.2"), _NOON, source))


def _event(number: int, type: str = "data_ready") -> StoredEvent:
    return StoredEvent(f"{_MS}-{number}", type, (), b'{"a":"\xc3\xa9"}', _NOON)


def _alert(number: int, type: str = "volatility_alert") -> StoredAlert:
    return StoredAlert(f"{_MS}-{number}", type, ("EUR_USD",), "info", Decimal(1), Decimal(1), "high", _NOON, b"{}")


async def _numbers(database: Database, row: type[TickRow | EventRow | AlertRow]) -> list[int]:
    async with database.read() as connection:
        return sorted((await connection.execute(select(table_of(row).c.number))).scalars())


async def _refused(database: Database) -> Sequence[RefusedEvent]:
    return await RefusedEvents(database).newest(5000)


@pytest.mark.parametrize("place", [0, 1, 499, 500, 998, 999])
async def test_a_tick_that_the_database_refuses_does_not_take_others_with_it(database: Database, place: int) -> None:
    ticks = [_tick(number, "a\ud800b" if number == place else "oanda") for number in range(1000)]
    recording = Recording(database, SOURCES)
    assert await recording.write(Batch(f"{_MS}-999", 1000, ticks, [_event(7)], [_alert(8)], [bar(_NOON)])) == 1
    assert await _numbers(database, TickRow) == [number for number in range(1000) if number != place]
    assert (await _numbers(database, EventRow), await _numbers(database, AlertRow)) == ([7], [8])
    assert len(await Candles(database, SOURCES).page(EUR_USD, Granularity.H1, start=None, end=None, limit=9)) == 1
    assert await recording.position() == (f"{_MS}-999", 1000)
    [refused] = await _refused(database)
    assert (refused.id, refused.type) == (f"{_MS}-{place}", "price_update")
    assert '"source": "a\\ud800b"' in refused.payload
    assert refused.payload.isascii()
    assert "surrogates not allowed" in refused.reason
    assert await RefusedEvents(database).count() == 1


async def test_every_kind_of_row_may_be_refused(database: Database) -> None:
    hostile, recording = "\ud800", Recording(database, SOURCES)
    unfinished = bar(_NOON + timedelta(hours=1), complete=False)
    unreadable = RefusedEvent.of(f"{_MS}-9", "news", b"\xff\0\n", ValueError("no\nsuch"))
    batch = Batch(
        f"{_MS}-9",
        9,
        [_tick(1, hostile), _tick(2), _tick(3, hostile)],
        [_event(4, hostile), _event(5)],
        [_alert(6), _alert(7, hostile)],
        [replace(bar(_NOON), source=hostile), bar(_NOON - timedelta(hours=1)), unfinished],
        [unreadable],
    )
    assert await recording.write(batch) == 6
    assert await recording.write(batch) == 0
    numbers = [await _numbers(database, row) for row in (TickRow, EventRow, AlertRow)]
    assert numbers == [[2], [5], [6]]
    assert await recording.unfinished() == [unfinished]
    assert sorted((refused.id, refused.type.isascii()) for refused in await _refused(database)) == [
        (f"{_MS}-1", True),
        (f"{_MS}-3", True),
        (f"{_MS}-4", True),
        (f"{_MS}-7", True),
        (f"{_MS}-9", True),
        (f"{_MS}-9", True),
    ]
    assert unreadable in await _refused(database)
    assert (unreadable.payload, unreadable.reason) == (r"\xff\x00\n", r"ValueError: no\nsuch")


async def test_a_batch_of_nothing_else_is_put_aside_whole(database: Database) -> None:
    ticks = [_tick(number, "\ud800") for number in range(200)]
    assert await Recording(database, SOURCES).write(Batch(f"{_MS}-999", 1, ticks)) == 200
    assert len(await _refused(database)) == 200
    assert [refused.id for refused in await RefusedEvents(database).newest(2)] == [f"{_MS}-199", f"{_MS}-198"]


async def test_any_mixture_is_sorted_out(database: Database) -> None:
    random = Random(7)
    for round in range(10):
        bad = {number for number in range(60) if random.random() < 0.2}
        ticks = [_tick(round * 60 + number, "\ud800" if number in bad else "oanda") for number in range(60)]
        assert await Recording(database, SOURCES).write(Batch(ticks[-1].id, round, ticks)) == len(bad)
    assert len(await _numbers(database, TickRow)) + await RefusedEvents(database).count() == 600


async def test_postgresql_refuses_what_sqlite_takes(database: Database, database_url: str) -> None:
    """The source that killed the recorder for good."""
    refused = await Recording(database, SOURCES).write(Batch(f"{_MS}-2", 2, [_tick(1, "a\0b"), _tick(2)]))
    if database_url.startswith("sqlite"):
        assert refused == 0
        return
    [event] = await _refused(database)
    assert event.id == f"{_MS}-1"
    assert '"source": "a\\u0000b"' in event.payload
    assert event.reason.startswith("CharacterNotInRepertoireError: ")
    assert await _numbers(database, TickRow) == [2]


async def test_a_missing_table_is_not_the_fault_of_a_row(database: Database) -> None:
    async with database.begin() as connection:
        await connection.run_sync(lambda sync: table_of(TickRow).drop(sync))
    with pytest.raises(Exception, match="ticks") as caught:
        await Recording(database, SOURCES).write(Batch(f"{_MS}-1", 1, [_tick(1)]))
    assert not isinstance(caught.value, DatabaseUnavailable)
    assert await Recording(database, SOURCES).position() is None
    assert await _refused(database) == []

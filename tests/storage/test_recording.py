import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from app.errors import DatabaseUnavailable, InvalidCursor
from app.market.bars.candle import Candle, Granularity
from app.market.bars.live_bars import LiveBars
from app.market.quote import Quote, QuoteKind
from app.sources import SOURCES
from app.storage.alerts.alerts import Alerts
from app.storage.database.database import Database, open_database
from app.storage.database.tables import AlertRow, EventRow, Row, TickRow, table_of
from app.storage.market.candles import Candles
from app.storage.recording import Batch, Recording, StoredAlert, StoredEvent, Tick
from tests.postgres import PrivatePostgres
from tests.storage.bars import EUR_USD, GBP_USD, bar

_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
_MS = int(_NOON.timestamp() * 1000)


def tick(number: int, bid: str = "1.10000") -> Tick:
    """The quote of a second after noon, as the log has it."""
    quote = Quote(EUR_USD, Decimal(bid), Decimal(bid) + Decimal("0.00012"), _NOON + timedelta(seconds=number), "kraken")
    return Tick(f"{_MS + 1000 * number}-0", quote)


def event(number: int, *pairs: str) -> StoredEvent:
    return StoredEvent(f"{_MS}-{number}", "data_ready", pairs, b'{"data_type":"prices"}', _NOON)


def alert(number: int, *pairs: str) -> StoredAlert:
    value = Decimal("0.0234")
    return StoredAlert(f"{_MS}-{number}", "volatility_alert", pairs, "info", value, Decimal("0.02"), "high", _NOON, b'{"a":1}')


async def counts(database: Database) -> dict[str, int]:
    """How many ticks, events and alerts there are."""
    rows: tuple[type[Row], ...] = (TickRow, EventRow, AlertRow)
    async with database.read() as connection:
        return {
            row.__name__: (await connection.execute(select(func.count()).select_from(table_of(row)))).scalar_one() for row in rows
        }


async def all_bars(database: Database, granularity: Granularity = Granularity.H1) -> list[Candle]:
    return await Candles(database, SOURCES).page(EUR_USD, granularity, start=None, end=None, limit=1000)


async def test_a_batch_is_written_with_its_position(database: Database) -> None:
    recording = Recording(database, SOURCES)
    assert await recording.position() is None
    assert await recording.unfinished() == []
    hour = bar(_NOON, complete=False)
    await recording.write(Batch(f"{_MS + 5}-3", 9, [tick(0), tick(1)], [event(2)], [alert(3, "EUR_USD")], [hour]))
    assert await recording.position() == (f"{_MS + 5}-3", 9)
    assert await recording.unfinished() == [hour] == await all_bars(database)
    assert await counts(database) == {"TickRow": 2, "EventRow": 1, "AlertRow": 1}
    assert await Alerts(database).page(limit=5) == [alert(3, "EUR_USD")]


async def test_quotes_and_events_are_kept_with_every_digit(database: Database) -> None:
    synthetic = replace(tick(0).quote, bid=Decimal("1.100"), kind=QuoteKind.SYNTHETIC)
    correlation = StoredEvent(f"{_MS}-2", "correlation_alert", ("EUR_USD", "GBP_USD"), b'{"pair1": "EUR_USD"}', _NOON)
    await Recording(database, SOURCES).write(Batch(f"{_MS}-9", 9, [Tick(f"{_MS}-0", synthetic)], [correlation]))
    async with database.read() as connection:
        stored = (await connection.execute(select(table_of(TickRow)))).one()
        kept = (await connection.execute(select(table_of(EventRow)))).one()
    assert (str(stored.bid), str(stored.ask), stored.pair) == ("1.100", "1.10012", "EUR_USD")
    assert (stored.milliseconds, stored.number, stored.time, stored.kind) == (_MS, 0, _NOON, "synthetic")
    assert (kept.type, kept.pairs, kept.data) == ("correlation_alert", "EUR_USD GBP_USD", b'{"pair1": "EUR_USD"}')


async def test_a_batch_that_was_written_already_changes_nothing(database: Database) -> None:
    recording = Recording(database, SOURCES)
    first = Batch(f"{_MS}-2", 2, [tick(0)], [event(1)], [alert(2, "EUR_USD")], [bar(_NOON, "1.1", complete=False, volume=1)])
    second = Batch(f"{_MS}-10", 3, [tick(1)], candles=[bar(_NOON, "1.2", complete=False, volume=2)])
    await recording.write(first)
    await recording.write(second)
    for batch in (second, first):
        await recording.write(batch)
    assert await recording.position() == (f"{_MS}-10", 3)
    assert await counts(database) == {"TickRow": 2, "EventRow": 1, "AlertRow": 1}
    assert await all_bars(database) == list(second.candles) == await recording.unfinished()


async def test_a_batch_behind_the_position_may_repeat_what_is_stored(database: Database) -> None:
    recording = Recording(database, SOURCES)
    await recording.write(Batch(f"{_MS}-2", 2, [tick(0)], [event(1)], [alert(2, "EUR_USD")]))
    await recording.write(Batch(f"{_MS}-3", 3, [tick(0), tick(1), tick(1)], [event(1)], [alert(2, "EUR_USD")]))
    assert await counts(database) == {"TickRow": 2, "EventRow": 1, "AlertRow": 1}


async def test_one_of_two_recorders_that_write_the_same_at_once_is_enough(database: Database, database_url: str) -> None:
    batch = Batch(f"{_MS}-2", 2, [tick(0)], [event(1)], [alert(2, "EUR_USD")], [bar(_NOON)])
    async with open_database(database_url) as other:
        await asyncio.gather(*(Recording(each, SOURCES).write(batch) for each in (database, other) * 3))
    assert await counts(database) == {"TickRow": 1, "EventRow": 1, "AlertRow": 1}


async def test_recorders_of_two_names_do_not_mind_each_other(database: Database) -> None:
    one, other = Recording(database, SOURCES), Recording(database, SOURCES, "other")
    await one.write(Batch(f"{_MS}-5", 5, candles=[bar(_NOON, complete=False)]))
    assert await other.position() is None
    await other.write(Batch(f"{_MS}-3", 3))
    assert (await one.position(), await other.position()) == ((f"{_MS}-5", 5), (f"{_MS}-3", 3))
    assert await other.unfinished() == []


@pytest.mark.parametrize("id", ["", "5", "x-1", "1-", f"{2**63}-0"])
async def test_an_id_that_is_none_is_refused_and_nothing_written(database: Database, id: str) -> None:
    recording = Recording(database, SOURCES)
    with pytest.raises(InvalidCursor):
        await recording.write(Batch(id, 1, [tick(0)]))
    with pytest.raises(InvalidCursor):
        await recording.write(Batch(f"{_MS}-5", 1, [tick(0), replace(tick(1), id=id)]))
    assert await recording.position() is None
    assert (await counts(database))["TickRow"] == 0


@pytest.mark.parametrize("pairs", [(), ("A", "B", "C")])
async def test_an_alert_of_no_pair_or_of_three_is_a_fault_of_the_program(database: Database, pairs: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="one pair or two"):
        await Recording(database, SOURCES).write(Batch(f"{_MS}-5", 1, alerts=[alert(1, *pairs)]))


async def test_a_batch_is_written_whole_or_not_at_all(postgres: PrivatePostgres) -> None:
    async with open_database(postgres.url) as database:
        await database.migrate()
        recording = Recording(database, SOURCES)
        await recording.write(Batch(f"{_MS}-1", 1))
        postgres.stop()
        batch = Batch(f"{_MS}-2", 2, [tick(0)], [event(1)], [alert(2, "EUR_USD")], [bar(_NOON)])
        with pytest.raises(DatabaseUnavailable):
            await recording.write(batch)
        postgres.start()
        assert await recording.position() == (f"{_MS}-1", 1)
        assert sum((await counts(database)).values()) == 0
        await recording.write(batch)
        assert sum((await counts(database)).values()) == 3


# ------------------------------------------------------------- unfinished bars


async def test_a_bar_that_is_closed_is_no_longer_unfinished(database: Database) -> None:
    recording = Recording(database, SOURCES)
    building = bar(_NOON, complete=False)
    of_gbp = replace(building, pair=GBP_USD)
    await recording.write(Batch(f"{_MS}-1", 1, candles=[building, of_gbp]))
    await recording.write(Batch(f"{_MS}-2", 2, candles=[replace(building, complete=True)]))
    assert await recording.unfinished() == [of_gbp]
    following = replace(building, time=building.end)
    # Whether the bar that follows comes before or after that which it closes.
    following_of_gbp = replace(of_gbp, time=building.end)
    await recording.write(Batch(f"{_MS}-3", 3, candles=[following_of_gbp, replace(of_gbp, complete=True), following]))
    assert await recording.unfinished() == [following, following_of_gbp]


async def test_an_unfinished_bar_is_the_recorders_whatever_others_write(database: Database) -> None:
    recording = Recording(database, SOURCES)
    building = bar(_NOON, "1.10001", complete=False, source="simulated")
    await Candles(database, SOURCES).write([bar(_NOON, "1.10099")])
    await recording.write(Batch(f"{_MS}-1", 1, candles=[building]))
    assert await recording.unfinished() == [building]
    assert await all_bars(database) == [bar(_NOON, "1.10099")]


async def test_bars_go_on_exactly_where_they_were(database: Database) -> None:
    """However often the recorder starts anew, the bars are those of one that was never stopped."""
    ticks = [tick(37 * number, f"1.{10000 + 7919 * number % 500}") for number in range(120)]
    never_stopped = LiveBars(EUR_USD, SOURCES)
    never_stopped.add(tick.quote for tick in ticks)
    expected = [candle for candle in never_stopped.changes() if candle.granularity is Granularity.M5]
    recording = Recording(database, SOURCES)
    for number, first in enumerate(range(0, len(ticks), 10)):
        bars = LiveBars(EUR_USD, SOURCES)
        bars.resume(await recording.unfinished())
        batch = ticks[first : first + 10]
        bars.add(tick.quote for tick in batch)
        await recording.write(Batch(batch[-1].id, number + 1, batch, candles=bars.changes()))
    assert len(expected) > 10
    assert await all_bars(database, Granularity.M5) == expected

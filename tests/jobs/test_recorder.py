import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.market.bars.candle import Candle, CandleBuilder, Granularity, Ohlc
from app.market.clock import parse_time, rfc3339, utc_now
from app.market.pair import CurrencyPair, TrackedPairs
from app.market.quote import Quote, QuoteKind
from app.providers.bar_files.opening import open_bar_files
from app.providers.replay.recording import Recording as RecordedQuotes
from app.realtime.contract.event import Draft, Event, cursor_at, price_update
from app.realtime.contract.heartbeat import FeedHeartbeat, heartbeat
from app.realtime.contract.publication import publication
from app.realtime.log.log import EventLog, open_redis
from app.sources import SOURCES
from app.storage.alerts.alerts import Alerts
from app.storage.database.database import Database, open_database
from app.storage.market.candles import Candles
from app.storage.recording import Recording
from app.storage.refusals import RefusedEvents
from jobs.recorder import Recorder
from tests.postgres import PrivatePostgres
from tests.private_valkey import PrivateValkey
from tests.waiting import wait_until

_PAIRS = TrackedPairs(["EUR_USD", "USD_JPY", "NZD_USD"])
_EUR_USD = CurrencyPair("EUR", "USD")


def _price(number: int, time: datetime | None = None, *, source: str = "oanda", kind: QuoteKind = QuoteKind.QUOTED) -> Draft:
    time = time or utc_now()
    bid = Decimal("1.10000") + number * Decimal("0.00001")
    return price_update(Quote(_EUR_USD, bid, bid + Decimal("0.00010"), time, source, kind), time)


def _alert(number: int = 0) -> Draft:
    return publication("volatility_alert", {"instrument": "EUR_USD", "volatility": 0.2 + number, "threshold": 0.15}, _PAIRS)


@asynccontextmanager
async def _recording(log: EventLog, database: Database) -> AsyncGenerator[Recorder]:
    recorder = Recorder(log, database, _PAIRS, heartbeat_interval=0.1)
    running = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        if not running.cancelled() and running.exception() is not None:
            raise AssertionError("the recorder failed") from running.exception()


async def _until_recorded(database: Database, cursor: str) -> None:
    async def has_come_there() -> bool:
        position = await Recording(database, SOURCES).position()
        return position is not None and _order(position[0]) >= _order(cursor)

    await wait_until(has_come_there, f"everything up to {cursor} is in the database", 60)


def _order(cursor: str) -> tuple[int, ...]:
    return tuple(map(int, cursor.split("-")))


async def _rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    async with database.read() as connection:
        return [tuple(row) for row in await connection.execute(text(query))]


async def _publish(log: EventLog, drafts: Sequence[Draft]) -> list[str]:
    publisher, ids = log.publisher(), []
    for first in range(0, len(drafts), 500):
        ids += await publisher.publish(drafts[first : first + 500])
    return ids


async def test_it_keeps_what_the_log_holds(valkey_url: str, database: Database) -> None:
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        both = {"pair1": "EUR_USD", "pair2": "USD_JPY", "correlation": -0.82, "threshold": 0.7}
        ids = await _publish(
            log,
            [
                _price(1),
                heartbeat(FeedHeartbeat(node="node", source="oanda", simulated=False)),
                _alert(),
                publication("correlation_alert", both, _PAIRS),
                publication("data_ready", {"data_type": "prices", "count": 2}, _PAIRS),
                _price(2),
            ],
        )
        async with _recording(log, database):
            await _until_recorded(database, ids[-1])
    ticks = await _rows(database, "SELECT pair, bid, ask, source, kind FROM ticks ORDER BY milliseconds, number")
    assert [(pair, Decimal(bid), source, kind) for pair, bid, _, source, kind in ticks] == [
        ("EUR_USD", Decimal("1.10001"), "oanda", "quoted"),
        ("EUR_USD", Decimal("1.10002"), "oanda", "quoted"),
    ]
    events = await _rows(database, "SELECT type FROM events ORDER BY milliseconds, number")
    assert [type for (type,) in events] == ["volatility_alert", "correlation_alert", "data_ready"]
    stored = await Alerts(database).page(limit=10)
    assert [(alert.id, alert.pairs, alert.value, alert.severity) for alert in stored] == [
        (ids[3], ("EUR_USD", "USD_JPY"), Decimal("-0.82"), "info"),
        (ids[2], ("EUR_USD",), Decimal("0.2"), "warning"),
    ]
    [minute] = await Candles(database, SOURCES).page(_EUR_USD, Granularity.M1, start=None, end=None, limit=10)
    assert (minute.volume, minute.bid.open, minute.bid.close) == (2, Decimal("1.10001"), Decimal("1.10002"))


async def test_it_goes_on_where_it_left_off(valkey_url: str, database: Database) -> None:
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        for number in range(4):
            ids = await _publish(log, [_price(10 * number + each) for each in range(10)])
            async with _recording(log, database):
                await _until_recorded(database, ids[-1])
    bars = await Candles(database, SOURCES).page(_EUR_USD, Granularity.M, start=None, end=None, limit=10)
    assert [(bar.volume, bar.bid.open, bar.bid.close) for bar in bars] == [(40, Decimal("1.10000"), Decimal("1.10039"))]
    assert await _rows(database, "SELECT count(*), count(DISTINCT bid) FROM ticks") == [(40, 40)]


async def test_a_recorder_killed_at_any_moment_loses_and_repeats_nothing(valkey_url: str, database: Database) -> None:
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        publishing = asyncio.create_task(_publish(log, [_price(number) for number in range(6000)]))
        for _ in range(6):
            before = await _rows(database, "SELECT count(*) FROM ticks")
            async with _recording(log, database):
                await wait_until(lambda before=before: _has_grown(database, before), "something is recorded", 30)  # type: ignore[misc]
        ids = await publishing
        async with _recording(log, database):
            await _until_recorded(database, ids[-1])
    assert await _rows(database, "SELECT count(*), count(DISTINCT bid) FROM ticks") == [(6000, 6000)]
    [month] = await Candles(database, SOURCES).page(_EUR_USD, Granularity.M, start=None, end=None, limit=10)
    assert (month.volume, month.bid.close) == (6000, Decimal("1.15999"))


async def _has_grown(database: Database, before: list[tuple[Any, ...]]) -> bool:
    rows = await _rows(database, "SELECT count(*) FROM ticks")
    return rows != before or rows == [(6000,)]


async def test_a_database_that_is_away_for_a_while_gets_everything_once(valkey_url: str, postgres: PrivatePostgres) -> None:
    async with open_redis(valkey_url) as redis, open_database(postgres.url) as database:
        await database.migrate()
        log = EventLog(redis)
        async with _recording(log, database) as recorder:
            first = await _publish(log, [_price(number) for number in range(1000)])
            await _until_recorded(database, first[-1])
            postgres.stop()
            meanwhile = await _publish(log, [_price(number) for number in range(1000, 4000)])
            postgres.start()
            last = await _publish(log, [_price(number) for number in range(4000, 5000)])
            await _until_recorded(database, last[-1])
            assert recorder.lost == 0
        assert len(meanwhile) == 3000
        assert await _rows(database, "SELECT count(*), count(DISTINCT bid) FROM ticks") == [(5000, 5000)]
        [month] = await Candles(database, SOURCES).page(_EUR_USD, Granularity.M, start=None, end=None, limit=10)
        assert month.volume == 5000


async def test_what_the_log_no_longer_holds_is_counted(valkey_url: str, database: Database) -> None:
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis, retained=1000)
        ids = await _publish(log, [_price(0)])
        async with _recording(log, database):
            await _until_recorded(database, ids[-1])
        ids = await _publish(log, [_price(number) for number in range(5000)])
        async with _recording(log, database) as recorder:
            await _until_recorded(database, ids[-1])
            [(count,)] = await _rows(database, "SELECT count(*) FROM ticks")
            assert 3000 < 5001 - count <= recorder.lost < 5021 - count  # heartbeats are lost too


async def test_a_loss_that_cannot_be_counted_is_counted_as_such(valkey_url: str, database: Database) -> None:
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        ids = await _publish(log, [_price(number) for number in range(20)])
        async with _recording(log, database):
            await _until_recorded(database, ids[-1])
        await _publish(log, [_price(number) for number in range(20, 880)])
        await redis.flushall()
        ids = await _publish(log, [_price(880)])
        async with _recording(log, database) as recorder:
            await _until_recorded(database, ids[-1])
            assert (recorder.lost, recorder.losses_of_unknown_size) == (0, 1)
    [day] = await Candles(database, SOURCES).page(_EUR_USD, Granularity.D, start=None, end=None, limit=10)
    assert (day.volume, day.made.whole) == (21, False)


async def test_quotes_that_a_heartbeat_overtakes_or_that_are_held_up_are_in_their_bars(
    valkey_url: str, database: Database
) -> None:
    ten = parse_time("2026-01-14T10:00:00Z")
    first = _price(0, ten)
    held_up = [
        price_update(Quote(_EUR_USD, Decimal(bid), Decimal("1.3"), ten + timedelta(seconds=second), "oanda"), utc_now())
        for second, bid in [(9, "1.2"), (50, "1.0"), (70, "1.15")]
    ]
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        beat = heartbeat(FeedHeartbeat(node="node", source="oanda", simulated=False))
        ids = await _publish(log, [first])
        async with _recording(log, database):
            await _until_recorded(database, ids[-1])
        ids = await _publish(log, [beat, *held_up, beat])
        async with _recording(log, database) as recorder:
            await _until_recorded(database, ids[-1])
            assert recorder.standing == 0
    candles = Candles(database, SOURCES)
    minutes = await candles.page(_EUR_USD, Granularity.M1, start=None, end=None, limit=10)
    assert [(bar.bid.high, bar.bid.low, bar.bid.close, bar.volume, bar.complete) for bar in minutes] == [
        (Decimal("1.2"), Decimal("1.0"), Decimal("1.0"), 3, True),
        (Decimal("1.15"), Decimal("1.15"), Decimal("1.15"), 1, True),
    ]
    [hour] = await candles.page(_EUR_USD, Granularity.H1, start=None, end=None, limit=10)
    assert (hour.bid.high, hour.bid.low, hour.volume, hour.complete) == (Decimal("1.2"), Decimal("1.0"), 4, True)


async def test_a_first_start_of_a_live_source_does_not_replace_an_imported_day(valkey_url: str, database: Database) -> None:
    candles = Candles(database, SOURCES)
    day = Granularity.D.start(utc_now())
    price = Ohlc.of(Decimal("1.5"))
    imported = Candle(_EUR_USD, Granularity.D, day, price, price, price, 9, complete=True, source="oanda")
    await candles.write([imported])
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        ids = await _publish(log, [_price(0), heartbeat(FeedHeartbeat(node="node", source="oanda", simulated=False))])
        async with _recording(log, database):
            await _until_recorded(database, ids[-1])
    assert await candles.page(_EUR_USD, Granularity.D, start=None, end=None, limit=10) == [imported]


async def test_without_redis_it_waits_and_goes_on(valkey: PrivateValkey, database: Database) -> None:
    async with open_redis(valkey.url) as redis:
        log = EventLog(redis)
        async with _recording(log, database):
            ids = await _publish(log, [_price(0)])
            await _until_recorded(database, ids[-1])
            valkey.kill()
            valkey.start()
            ids = await _publish(log, [_price(1)])
            await _until_recorded(database, ids[-1])
    assert await _rows(database, "SELECT count(*) FROM ticks") == [(2,)]


async def test_bars_close_when_time_has_passed(valkey_url: str, database: Database) -> None:
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        candles = Candles(database, SOURCES)
        async with _recording(log, database):
            ids = await _publish(log, [_price(0, utc_now() - timedelta(seconds=50))])
            await _until_recorded(database, ids[-1])
            later = utc_now() + timedelta(minutes=2)
            body = b'{"role":"feed","node":"f","timestamp":"%s"}' % rfc3339(later).encode()
            id = await redis.xadd("fx:events", {"n": 2, "t": "heartbeat", "d": body}, id=cursor_at(later))
            assert isinstance(id, bytes)
            await _until_recorded(database, id.decode())
    [minute] = await candles.page(_EUR_USD, Granularity.M1, start=None, end=None, limit=10)
    assert minute.complete


@pytest.mark.parametrize(
    "draft",
    [
        pytest.param(_price(0, kind=QuoteKind.INDICATIVE), id="indicative"),
        pytest.param(_price(0, kind=QuoteKind.DAILY), id="daily"),
        pytest.param(
            price_update(Quote(_EUR_USD, Decimal(1), Decimal(2), parse_time("2026-01-16T21:59:00Z"), "oanda"), utc_now()),
            id="old",
        ),
    ],
)
async def test_no_bar_is_made_of_prices_that_are_not_of_the_moment(valkey_url: str, sqlite_url: str, draft: Draft) -> None:
    async with open_redis(valkey_url) as redis, open_database(sqlite_url) as database:
        await database.migrate()
        log = EventLog(redis)
        async with _recording(log, database):
            ids = await _publish(log, [draft])
            await _until_recorded(database, ids[-1])
        assert await _rows(database, "SELECT count(*) FROM ticks") == [(1,)]
        assert await _rows(database, "SELECT count(*) FROM candles") == [(0,)]


async def test_what_cannot_be_recorded_is_passed_over(valkey_url: str, sqlite_url: str) -> None:
    async with open_redis(valkey_url) as redis, open_database(sqlite_url) as database:
        await database.migrate()
        log = EventLog(redis)
        odd = [
            Draft("price_update", b'{"instrument":"EUR_USD","timestamp":"2026-01-14T09:00:00Z"}'),
            Draft("price_update", b'{"instrument":"EUR_USD","price":{"bid":"x","ask":"1","time":"now"},"source":"oanda"}'),
            Draft("volatility_alert", b'{"instrument":"EUR_USD","timestamp":"2026-01-14T09:00:00Z"}'),
            Draft("unheard_of", b'{"timestamp":"2026-01-14T09:00:00Z"}'),
        ]
        async with _recording(log, database):
            ids = await _publish(log, [*odd, _price(1)])
            await _until_recorded(database, ids[-1])
        assert await _rows(database, "SELECT count(*) FROM ticks") == [(1,)]
        assert await Alerts(database).page(limit=10) == []


async def test_hours_that_were_fetched_count_in_longer_bars(valkey_url: str, sqlite_url: str) -> None:
    async with open_redis(valkey_url) as redis, open_database(sqlite_url) as database:
        await database.migrate()
        log, now = EventLog(redis), utc_now()
        earlier = Granularity.H1.start(now) - timedelta(minutes=30)
        builder = CandleBuilder(_EUR_USD, Granularity.H1)
        builder.add(Quote(_EUR_USD, Decimal("1.2"), Decimal("1.3"), earlier, "oanda"))
        hour = builder.advance(now)
        assert hour is not None
        await Candles(database, SOURCES).write([hour])
        async with _recording(log, database):
            ids = await _publish(log, [_price(0, now)])
            await _until_recorded(database, ids[-1])
        longer = (Granularity.H4, Granularity.D, Granularity.W, Granularity.M)
        of_both = [length for length in longer if length.start(earlier) == length.start(now)]
        for length in of_both:
            [bar] = await Candles(database, SOURCES).page(_EUR_USD, length, start=None, end=None, limit=10)
            assert (bar.volume, bar.bid.open, bar.bid.close) == (2, Decimal("1.2"), Decimal("1.10000"))


@pytest.mark.usefixtures("untraced_test")
async def test_two_real_days_make_the_minutes_that_oanda_made(valkey_url: str, database: Database, fx_data: Path) -> None:
    """Of both days' minutes those of one are known from OANDA itself; the other day's are compared with its ticks."""
    folder = fx_data / "oanda"
    files = [folder / "tick" / "eurusd" / f"201405{day}_quote.zip" for day in ("05", "06")]
    quotes = [Quote(row.pair, row.bid, row.ask, row.time, "oanda") for file in files for row in RecordedQuotes(file).rows()]
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        ids = await _publish(log, [price_update(quote, quote.time) for quote in quotes])
        async with _recording(log, database):
            await _until_recorded(database, ids[-1])
    candles = Candles(database, SOURCES)
    first, second = parse_time("2014-05-05T00:00:00Z"), parse_time("2014-05-06T00:00:00Z")
    ours = await candles.page(_EUR_USD, Granularity.M1, start=first, end=second, limit=5000)
    [oandas] = open_bar_files([folder / "minute" / "eurusd" / "20140505_quote.zip"])
    expected = list(oandas.candles())
    assert len(expected) == 1350
    assert [(bar.time, bar.bid, bar.ask) for bar in ours] == [(bar.time, bar.bid, bar.ask) for bar in expected]
    theirs = _of_ticks([quote for quote in quotes if quote.time >= second])
    following = await candles.page(_EUR_USD, Granularity.M1, start=second, end=None, limit=5000)
    assert [replace(bar, complete=True) for bar in following] == theirs
    assert len(theirs) > 1300


def _of_ticks(quotes: Sequence[Quote]) -> list[Candle]:
    builder = CandleBuilder(_EUR_USD, Granularity.M1)
    closed = [bar for quote in quotes if (bar := builder.add(quote)) is not None]
    assert builder.unfinished is not None
    return [*closed, replace(builder.unfinished, complete=True)]


async def test_an_event_that_slips_through_every_check_is_put_aside_and_the_rest_recorded(
    valkey_url: str, database: Database
) -> None:
    def event_of(number: int, draft: Draft, **changes: object) -> Event:
        sound = Event.from_entry(f"1764000000000-{number}", number, draft.type, draft.data)
        return replace(sound, body=dict(sound.body) | changes)

    events = [
        event_of(1, _price(1)),
        event_of(2, _price(2), source="a\ud800b"),  # no database takes it
        event_of(3, _price(3), price={}),
        event_of(4, _alert(), volatility="high"),
        event_of(5, _alert()),
        event_of(6, _price(6), timestamp="now"),
        event_of(7, _price(7)),
    ]
    async with open_redis(valkey_url) as redis:
        recorder = Recorder(EventLog(redis), database, _PAIRS)
        await recorder._resume()
        await recorder._keep(events)
        assert (recorder.recorded, recorder.refused) == (7, 4)
        again = Recorder(EventLog(redis), database, _PAIRS)
        await again._resume()
        assert again.refused == 4
    assert await _rows(database, "SELECT number FROM ticks ORDER BY number") == [(1,), (7,)]
    assert await _rows(database, "SELECT number FROM alerts") == [(5,)]
    refused = await RefusedEvents(database).newest(9)
    assert sorted(event.id for event in refused) == [f"1764000000000-{number}" for number in (2, 3, 4, 6)]
    reasons = {event.id[-1]: event.reason for event in refused}
    assert reasons["3"] == "KeyError: 'bid'"
    assert "surrogates not allowed" in reasons["2"]


async def test_entries_that_are_no_events_are_put_aside_once(valkey_url: str, database: Database) -> None:
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        written = [
            {"n": "1" + "0" * 400, "t": "price_update", "d": '{"instrument":"EUR_USD"}'},
            {"n": "2", "t": "feed_status", "d": '{"source":{}}'},
            {"n": "3", "t": "price_update", "d": '{"instrument":"EUR_USD"}'},
            {"\0\xff": "\x1b[2J" + "x" * 9000},
        ]
        written_ids = [str(await redis.xadd("fx:events", dict(fields)), "ascii") for fields in written]  # type: ignore[arg-type]
        for number in range(2):
            [good] = await _publish(log, [_price(number)])
            async with _recording(log, database) as recorder:
                await _until_recorded(database, good)
                assert recorder.refused == 4
    refused = await RefusedEvents(database).newest(99)
    assert [event.id for event in reversed(refused)] == written_ids
    assert [event.type for event in reversed(refused)] == ["price_update", "feed_status", "price_update", ""]
    assert [event.reason.startswith("not an event: ") for event in refused] == [True] * 4
    assert refused[1].payload == 'n=3 t=price_update d={"instrument":"EUR_USD"}'
    assert refused[0].payload.startswith(r"\x00\xff=\x1b[2Jxxx")
    assert len(refused[0].payload) < 4100
    assert await _rows(database, "SELECT count(*) FROM ticks") == [(2,)]


async def test_an_entry_whose_id_no_column_holds_is_put_aside_too(valkey_url: str, database: Database) -> None:
    async with open_redis(valkey_url) as redis:
        recorder = Recorder(EventLog(redis), database, _PAIRS)
        await recorder._resume()
        recorder._refuse("18446744073709551615-7", {b"t": b"news"}, ValueError("not an id of this era"))
        draft = _price(1)
        await recorder._keep([Event.from_entry("1764000000000-1", 1, draft.type, draft.data)])
    [event] = await RefusedEvents(database).newest(9)
    assert (event.id, event.type, event.reason) == ("0-0", "news", "not an event: not an id of this era")
    assert await _rows(database, "SELECT number FROM ticks") == [(1,)]

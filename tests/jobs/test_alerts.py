import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from app.alerts.notification import Notifier
from app.config import load_settings
from app.market.alert import Severity
from app.market.clock import utc_now
from app.market.pair import CurrencyPair, TrackedPairs
from app.market.price_level import Direction, PriceLevel
from app.market.quote import Quote
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Draft, price_update
from app.realtime.contract.publication import publication
from app.realtime.log.log import EventLog, open_redis
from app.sources import SOURCES
from app.storage.alerts.price_levels import PriceLevels
from app.storage.database.database import Database, open_database
from app.storage.recording import Recording
from jobs.alerts import AlertWatch, addresses
from tests.alerts.web_hook import web_hook
from tests.postgres import PrivatePostgres
from tests.waiting import wait_until

_PAIRS = TrackedPairs(["EUR_USD", "USD_JPY"])
_EUR_USD = CurrencyPair("EUR", "USD")


def _price(mid: str) -> Draft:
    return price_update(Quote(_EUR_USD, Decimal(mid), Decimal(mid), utc_now(), "oanda"), utc_now())


def _alert(severity: str) -> Draft:
    body = {"instrument": "EUR_USD", "volatility": 0.2, "threshold": 0.1, "severity": severity}
    return publication("volatility_alert", body, _PAIRS)


def _level(id: str, level: str, direction: Direction = Direction.ABOVE, *, repeat: bool = False) -> PriceLevel:
    return PriceLevel(id, _EUR_USD, direction, Decimal(level), "warning", None, repeat, 0, utc_now())


@asynccontextmanager
async def _watching(log: EventLog, database: Database, notifier: Notifier | None = None) -> AsyncGenerator[AlertWatch]:
    async with notifier or Notifier({}) as open_notifier:
        watch = AlertWatch(log, database, _PAIRS, open_notifier)
        running = asyncio.create_task(watch.run())
        try:
            yield watch
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            if not running.cancelled() and running.exception() is not None:
                raise AssertionError("the alert watch failed") from running.exception()


async def _begun(database: Database) -> None:
    """Return when the watch has noted where it begins."""

    async def has_begun() -> bool:
        return await Recording(database, SOURCES, "alerts").position() is not None

    await wait_until(has_begun, "the watch has begun", 30)


async def _noted(database: Database, cursor: str) -> None:
    async def is_there() -> bool:
        position = await Recording(database, SOURCES, "alerts").position()
        return position is not None and tuple(map(int, position[0].split("-"))) >= tuple(map(int, cursor.split("-")))

    await wait_until(is_there, "the watch has noted its position", 30)


async def _alerts(log: EventLog) -> list[dict[str, Any]]:
    entries = await log.read("0-0", 10_000)
    return [orjson.loads(fields[b"d"]) for _, fields in entries if fields[b"t"] == EventType.PRICE_ALERT.encode()]


async def _price_alerts(log: EventLog, count: int) -> list[dict[str, Any]]:
    async def are_there() -> bool:
        return len(await _alerts(log)) >= count

    await wait_until(are_there, f"{count} price alerts are in the log", 30)
    return await _alerts(log)


async def test_a_level_that_is_reached_becomes_an_event_once(valkey_url: str, database: Database) -> None:
    async with open_redis(valkey_url) as redis:
        log, levels = EventLog(redis), PriceLevels(database)
        await levels.add(_level("l1", "1.10000"))
        async with _watching(log, database) as watch:
            await _begun(database)
            ids = await log.publisher().publish([_price("1.09990"), _price("1.10004"), _price("1.09000"), _price("1.10010")])
            [event] = await _price_alerts(log, 1)
            await _noted(database, ids[-1])
            assert watch.reached == 1
        assert {name: event[name] for name in ("instrument", "level_id", "level", "direction", "price", "severity")} == {
            "instrument": "EUR_USD", "level_id": "l1", "level": "1.10000", "direction": "above", "price": "1.10004",
            "severity": "warning",
        }  # fmt: skip
        assert event["message"] == "EUR_USD rose above 1.10000: 1.10004"
        stored = await levels.get("l1")
        assert (stored.armed, stored.triggered) == (False, 1)
        async with _watching(log, database):
            await _begun(database)
            assert len(await _alerts(log)) == 1


async def test_levels_set_and_deleted_meanwhile_are_taken_over(valkey_url: str, sqlite_url: str) -> None:
    async with open_redis(valkey_url) as redis, open_database(sqlite_url) as database:
        await database.migrate()
        log, levels = EventLog(redis), PriceLevels(database)
        await levels.add(_level("gone", "0.90000", Direction.BELOW))
        async with _watching(log, database):
            await _begun(database)
            await levels.delete("gone")
            await levels.add(_level("new", "1.20000"))
            publisher = log.publisher()

            async def is_reached() -> bool:
                await publisher.publish([_price("1.20000")])
                return bool(await _alerts(log))

            await wait_until(is_reached, "the new level is reached", 30)
            _, id = await publisher.publish([_price("0.80000"), _alert("info")])
            await _noted(database, id)
        assert {event["level_id"] for event in await _alerts(log)} == {"new"}


async def test_a_level_that_repeats_is_told_again_when_the_price_has_been_back(valkey_url: str, sqlite_url: str) -> None:
    async with open_redis(valkey_url) as redis, open_database(sqlite_url) as database:
        await database.migrate()
        log = EventLog(redis)
        await PriceLevels(database).add(_level("l1", "1.10000", repeat=True))
        async with _watching(log, database):
            await _begun(database)
            await log.publisher().publish([_price(mid) for mid in ("1.10001", "1.09995", "1.10002", "1.09980", "1.10003")])
            events = await _price_alerts(log, 2)
        assert [event["price"] for event in events] == ["1.10001", "1.10003"]


async def test_a_watch_that_is_killed_tells_of_a_level_once(valkey_url: str, database: Database) -> None:
    """Between writing the alert and noting it a process may die: here the note is put back to what it was before."""
    async with open_redis(valkey_url) as redis:
        log, levels = EventLog(redis), PriceLevels(database)
        level = _level("l1", "1.10000")
        await levels.add(level)
        async with _watching(log, database):
            await _begun(database)
        position = await Recording(database, SOURCES, "alerts").position()
        assert position is not None
        await log.publisher().publish([_price("1.10001")])
        for _ in range(2):
            async with _watching(log, database):
                await _price_alerts(log, 1)
            await levels.save([replace(level, armed=True, triggered=0, last_triggered=None)])
            milliseconds, number = position[0].split("-")
            place = f"milliseconds = {milliseconds}, number = {number}, seq = {position[1]}"
            async with database.begin() as connection:
                await connection.exec_driver_sql(f"UPDATE recorder_cursors SET {place} WHERE recorder = 'alerts'")
        assert len(await _alerts(log)) == 1


async def test_people_are_told_of_every_alert_by_its_severity(valkey_url: str, sqlite_url: str) -> None:
    async with open_redis(valkey_url) as redis, open_database(sqlite_url) as database, web_hook() as all_, web_hook() as grave:
        await database.migrate()
        log = EventLog(redis)
        notifier = Notifier({Severity.INFO: [all_.url()], Severity.CRITICAL: [grave.url()]})
        async with _watching(log, database, notifier) as watch:
            await _begun(database)
            await log.publisher().publish([_alert("warning"), _alert("critical")])
            await wait_until(lambda: len(all_.messages) == 2 and len(grave.messages) == 1, "people are told", 30)
            assert watch.sent == 2
        assert grave.texts == ["Volatility (0.2) exceeded threshold (0.1)"]


async def test_alerts_wait_for_a_database_that_is_away(valkey_url: str, postgres: PrivatePostgres) -> None:
    async with open_redis(valkey_url) as redis, open_database(postgres.url) as database:
        await database.migrate()
        log, levels = EventLog(redis), PriceLevels(database)
        await levels.add(_level("l-away", "1.10000"))
        async with _watching(log, database):
            await _begun(database)
            postgres.stop()
            ids = await log.publisher().publish([_price("1.10001")])
            await _price_alerts(log, 1)  # in the log all the same
            postgres.start()
            await _noted(database, ids[-1])
        assert (await levels.get("l-away")).triggered == 1
        await levels.delete("l-away")


def test_addresses_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_INFO", "json://one.example json://two.example")
    monkeypatch.setenv("NOTIFY_CRITICAL", "json://three.example")
    assert addresses(load_settings()) == {
        Severity.INFO: ["json://one.example", "json://two.example"],
        Severity.WARNING: [],
        Severity.CRITICAL: ["json://three.example"],
    }

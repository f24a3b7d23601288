import asyncio
import gzip
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from app.config import load_settings
from app.errors import ConfigurationError, SourceError, SourceRefused
from app.market.clock import utc_now
from app.market.pair import CurrencyPair, TrackedPairs
from app.market.quote import Quote
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Event
from app.realtime.log.log import EventLog, open_redis
from app.run.process import run_job
from jobs.feed import Feed, run
from tests.private_valkey import PrivateValkey
from tests.project import PROJECT
from tests.waiting import wait_until

_PAIRS = TrackedPairs(["EUR_USD", "USD_JPY"])


def _quote(number: int = 0, pair: str = "EUR_USD", spread: int = 8) -> Quote:
    bid = Decimal(100_000 + number).scaleb(-5)
    return Quote(CurrencyPair.parse(pair), bid, bid + Decimal(spread).scaleb(-5), utc_now(), "scripted")


def _at(bid: str) -> Quote:
    price = Decimal(bid)
    return Quote(CurrencyPair("EUR", "USD"), price, price + Decimal("0.00008"), utc_now(), "scripted")


class Scripted:
    """A source that gives a list of quotes and then does one thing; the next run does the next thing."""

    name = "scripted"
    simulated = True

    def __init__(self, quotes: Sequence[Quote], *endings: Callable[[], object]) -> None:
        self._quotes = quotes
        self._endings = list(endings)
        self.given = 0
        self.runs = 0

    async def quotes(self) -> AsyncIterator[Quote]:
        self.runs += 1
        for quote in self._quotes:
            self.given += 1
            yield quote
        if self._endings:
            ending = self._endings.pop(0)()
            if isinstance(ending, Exception):
                raise ending
            await asyncio.Event().wait()


async def _events(log: EventLog) -> list[Event]:
    reader = log.reader()
    events: list[Event] = []
    while some := await reader.read():
        events += some
    return events


def _prices(events: list[Event]) -> list[str]:
    return [orjson.loads(event.bare)["price"]["bid"] for event in events if event.is_price]


async def test_writes_every_quote_in_order_and_ends_with_its_source(valkey_url: str) -> None:
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        feed = Feed(Scripted([_quote(number) for number in range(5000)]), log, _PAIRS)
        await feed.run()
        events = await _events(log)
    assert feed.published == 5000
    assert _prices(events) == [str(Decimal(100_000 + number).scaleb(-5)) for number in range(5000)]
    assert [event.seq for event in events] == list(range(1, 5002))
    [first] = [orjson.loads(event.bare) for event in events if event.type == EventType.HEARTBEAT]
    assert (first["role"], first["source"], first["simulated"]) == ("feed", "scripted", True)


async def test_the_event_of_a_quote_says_when_it_was_received(valkey_url: str) -> None:
    before = utc_now()
    quote = Quote(CurrencyPair("EUR", "USD"), Decimal("1.1"), Decimal("1.2"), before - timedelta(seconds=3), "scripted")
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        await Feed(Scripted([quote]), log, _PAIRS).run()
        [event] = [event for event in await _events(log) if event.is_price]
    body = orjson.loads(event.bare)
    assert body["instrument"] == "EUR_USD"
    assert body["source"] == "scripted"
    assert body["price"]["time"] < body["timestamp"]
    assert body["timestamp"] >= before.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_a_spike_is_dropped_and_counted_and_a_jump_is_not(valkey_url: str) -> None:
    bids = ["1.17000", "1.17001", "11.70000", "1.17002", "1.05000", "1.05001"]
    source = Scripted([_at(bid) for bid in bids], lambda: "and then silence")
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        feed = Feed(source, log, _PAIRS, heartbeat_interval=0.02)
        running = asyncio.create_task(feed.run())
        await wait_until(lambda: feed.published == 5, "all but the spike are published")
        await asyncio.sleep(0.1)  # for another heartbeat
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        events = await _events(log)
    assert _prices(events) == ["1.17000", "1.17001", "1.17002", "1.05000", "1.05001"]
    assert feed.dropped == {"spike": 1}
    beats = [orjson.loads(event.bare) for event in events if event.type == EventType.HEARTBEAT]
    assert beats[-1]["dropped"] == {"spike": 1}


async def test_drops_bad_quotes_and_tells_why(valkey_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    quotes = [_quote(1), _quote(2, spread=-1), _quote(3, pair="GBP_USD"), _quote(4, spread=-1), _quote(5)]
    source = Scripted(quotes, lambda: "and then silence")
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        feed = Feed(source, log, _PAIRS, heartbeat_interval=0.02)
        running = asyncio.create_task(feed.run())
        await wait_until(lambda: "source scripted: 3 dropped" in caplog.text, "the drops are logged")
        await wait_until(lambda: feed.published == 2, "the others are published")
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert _prices(await _events(log)) == ["1.00001", "1.00005"]
    assert feed.dropped == {"crossed": 2, "untracked pair": 1}
    lines = [record.getMessage() for record in caplog.records if record.name == "jobs.feed"]
    assert lines.count("source scripted: 3 dropped (crossed 2, untracked pair 1)") == 1
    assert lines[-1] == "2 quotes of source scripted published, 3 dropped (crossed 2, untracked pair 1)"


async def test_gives_signs_of_life_while_the_source_is_silent(valkey_url: str) -> None:
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        running = asyncio.create_task(Feed(Scripted([], lambda: "silence"), log, _PAIRS, heartbeat_interval=0.02).run())

        async def three_beats() -> bool:
            return [event.type for event in await _events(log)][:3] == ["heartbeat"] * 3

        await wait_until(three_beats, "three heartbeats are in the log")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_starts_a_failed_source_again(valkey_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    source = Scripted([_quote(7)], lambda: SourceError("The venue is closed"), lambda: ZeroDivisionError("a fault"))
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        await Feed(source, log, _PAIRS).run()
        assert _prices(await _events(log)) == ["1.00007"] * 3
    assert source.runs == 3
    records = [record for record in caplog.records if record.name == "jobs.feed"]
    traced = {record.getMessage(): bool(record.exc_info) for record in records}
    assert traced["source scripted failed: The venue is closed"] is False
    assert traced["source scripted failed unexpectedly"] is True
    assert sum("will be restarted in" in record.getMessage() for record in records) == 2


async def test_a_source_that_refuses_us_ends_it_once_all_that_was_quoted_is_published(valkey_url: str) -> None:
    source = Scripted([_quote(number) for number in range(3000)], lambda: SourceRefused("The token is wrong"))
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        feed = Feed(source, log, _PAIRS)
        with pytest.raises(SourceRefused, match=r"^The token is wrong$"):
            await feed.run()
        assert _prices(await _events(log)) == [str(Decimal(100_000 + number).scaleb(-5)) for number in range(3000)]
    assert (source.runs, feed.published) == (1, 3000)


async def test_loses_nothing_while_redis_is_away(valkey: PrivateValkey, caplog: pytest.LogCaptureFixture) -> None:
    source = Scripted([_quote(number) for number in range(6000)])
    valkey.kill()
    async with open_redis(valkey.url) as redis:
        log = EventLog(redis)
        feed = Feed(source, log, _PAIRS)
        running = asyncio.create_task(feed.run())
        await wait_until(lambda: "the feed waits: Redis does not answer" in caplog.text, "it is missed")
        assert 2000 <= source.given <= 2300
        assert feed.published == 0
        valkey.start()
        await running
        assert _prices(await _events(log)) == [str(Decimal(100_000 + number).scaleb(-5)) for number in range(6000)]
    assert feed.published == source.given == 6000


async def test_a_fault_of_its_own_ends_it(valkey_url: str) -> None:
    source = Scripted([], lambda: "silence")
    source.name = object()  # type: ignore[assignment]
    async with open_redis(valkey_url) as redis:
        with pytest.raises(ExceptionGroup) as caught:
            await Feed(source, EventLog(redis), _PAIRS).run()
    assert caught.group_contains(ValueError)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The environment of a feed, with no settings from elsewhere."""
    for name in ("REDIS_URL", "REDIS_HOST", "SOURCE", "REPLAY_FILES", "TRACKED_PAIRS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def test_the_program_replays_a_file_to_its_end(environment: pytest.MonkeyPatch, valkey_url: str, fx_data: Path) -> None:
    environment.setenv("REDIS_URL", valkey_url)
    environment.setenv("SOURCE", "replay")
    environment.setenv("REPLAY_FILES", str(fx_data / "truefx" / "usdjpy-ticks.csv"))
    environment.setenv("REPLAY_SPEED", "1000000")
    assert run_job("feed", run) == 0

    async def logged() -> list[Event]:
        async with open_redis(valkey_url) as redis:
            return await _events(EventLog(redis))

    prices = _prices(asyncio.run(logged()))
    assert len(prices) == 1000
    assert (prices[0], prices[-1]) == ("86.655", "86.836")


def test_the_program_plays_a_damaged_file_up_to_the_damage_and_ends_with_one_line(
    environment: pytest.MonkeyPatch, valkey_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [f"2014-05-05 00:00:00.{number:06},1.3{number % 9973:04},1.5" for number in range(20_000)]
    packed = gzip.compress("\n".join(rows).encode())
    (tmp_path / "eurusd.csv.gz").write_bytes(packed[: len(packed) // 2])
    environment.setenv("REDIS_URL", valkey_url)
    environment.setenv("SOURCE", "replay")
    environment.setenv("REPLAY_FILES", "eurusd.csv.gz")
    environment.setenv("REPLAY_SPEED", "1000000")
    assert run_job("feed", run) == 2
    [line] = [line for line in capfd.readouterr().err.splitlines() if line.startswith("feed: ")]
    assert line.startswith("feed: eurusd.csv.gz cannot be read: ")
    assert line.endswith("; the replay ends there, since starting over would not help")

    async def logged() -> list[Event]:
        async with open_redis(valkey_url) as redis:
            return await _events(EventLog(redis))

    prices = _prices(asyncio.run(logged()))
    # Once, and not again and again from the beginning.
    assert 2000 < len(prices) < 20_000
    assert prices == [row.split(",")[1] for row in rows[: len(prices)]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "feed: REDIS_URL: a process of its own needs the Redis of its gateway, as a URL or in parts\n"),
        ({"REDIS_URL": "redis://localhost", "REDIS_PORT": "many"}, "feed: REDIS_PORT: Input should be a valid integer"),
        (
            {"REDIS_URL": "redis://localhost", "SOURCE": "replay", "REPLAY_FILES": "no.zip"},
            "feed: no.zip cannot be read: No such file or directory\n",
        ),
        (
            {"REDIS_URL": "redis://localhost", "TRACKED_PAIRS": "XAU_USD"},
            "feed: Prices of XAU cannot be simulated: the ECB lists too few recent rates\n",
        ),
    ],
    ids=["no Redis", "wrong setting", "no file", "no rates"],
)
def test_settings_that_cannot_work_end_the_program_with_one_line(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: dict[str, str], message: str
) -> None:
    for name, value in settings.items():
        environment.setenv(name, value)
    assert run_job("feed", run) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_program(valkey_url: str, tmp_path: Path, number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "jobs.feed",
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "REDIS_URL": valkey_url, "SIMULATED_RATE": "200"},
        stderr=asyncio.subprocess.PIPE,
    )
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)

        async def is_running() -> bool:
            return len(_prices(await _events(log))) > 5

        await wait_until(is_running, "the program writes prices", timeout=30)
        process.send_signal(number)
        _, errors = await process.communicate()
    assert process.returncode == 0
    assert b"quotes of source simulated published, 0 dropped" in errors
    assert b"Traceback" not in errors


def test_settings_that_cannot_work_are_configuration_errors(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SOURCE", "replay")
    with pytest.raises(ConfigurationError, match="REPLAY_FILES"):
        load_settings()


class Watched(Scripted):
    """A source that knows when it is silent."""

    silent = False


async def test_silence_is_told_when_it_begins_and_when_it_ends(valkey_url: str) -> None:
    async with open_redis(valkey_url) as redis:
        log = EventLog(redis)
        source = Watched([_quote(1)], lambda: "silence")
        running = asyncio.create_task(Feed(source, log, _PAIRS, heartbeat_interval=60).run())

        async def statuses() -> list[tuple[str, str]]:
            told = [orjson.loads(event.bare) for event in await _events(log) if event.type == EventType.FEED_STATUS]
            return [(body["source"], body["status"]) for body in told]

        async def states() -> list[dict[str, str]]:
            beats = [orjson.loads(event.bare) for event in await _events(log) if event.type == EventType.HEARTBEAT]
            return [beat["sources"] for beat in beats]

        async def are_told(count: int) -> bool:
            return len(await statuses()) == count and len(await states()) == count + 1

        try:
            await wait_until(lambda: are_told(0), "the first heartbeat is written")
            source.silent = True
            await wait_until(lambda: are_told(1), "the silence is told")
            source.silent = False
            await wait_until(lambda: are_told(2), "its end is told")
            assert await statuses() == [(source.name, "silent"), (source.name, "live")]
            assert await states() == [{source.name: state} for state in ("active", "silent", "active")]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

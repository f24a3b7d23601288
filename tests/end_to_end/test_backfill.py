"""``fx-gateway backfill`` from a stand-in for OANDA: complete however often it is killed, and no page fetched twice."""

import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from app.market.bars.candle import Candle, Granularity
from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.sources import SOURCES
from app.storage.database.database import open_database
from app.storage.market.candles import Candles
from tests.gateways import command
from tests.providers.oanda.stub import TOKEN, OandaStub
from tests.providers.oanda.stub_market import candles
from tests.untraced import UNTRACED
from tests.waiting import wait_until

START, END = datetime(2023, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
_PAGE = 250
_EUR_USD = CurrencyPair("EUR", "USD")


@pytest.fixture
async def stub() -> AsyncIterator[OandaStub]:
    async with OandaStub() as running:
        running.knobs.most_bars = _PAGE
        yield running


def _settings(stub: OandaStub, database_url: str) -> dict[str, str]:
    urls = {"OANDA_REST_URL": stub.rest_url, "OANDA_STREAM_URL": stub.stream_url}
    return {"DATABASE_URL": database_url, "OANDA_TOKEN": TOKEN, **urls, **UNTRACED}


def _arguments(*more: str) -> list[str]:
    return ["backfill", "--from", f"{START:%Y-%m-%d}", "--granularity", "H1", "--pair", "EUR_USD", "--source", "oanda", *more]


async def _stored(database_url: str, granularity: Granularity, limit: int = 100_000) -> list[Candle]:
    async with open_database(database_url) as database:
        await database.migrate()
        return await Candles(database, SOURCES).page(_EUR_USD, granularity, start=None, end=None, limit=limit)


def _facts(bar: Candle) -> tuple[object, ...]:
    sides = [[str(price) for price in (ohlc.open, ohlc.high, ohlc.low, ohlc.close)] for ohlc in (bar.bid, bar.mid, bar.ask)]
    return bar.time, sides, bar.volume, bar.complete, bar.source


def _facts_of_stub(bar: Mapping[str, Any]) -> tuple[object, ...]:
    sides = [[bar[side][field] for field in "ohlc"] for side in ("bid", "mid", "ask")]
    return _time(bar), sides, bar["volume"], True, "oanda"


def _time(bar: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(bar["time"][:19] + "Z")


def _of_stub(end: datetime) -> list[tuple[object, ...]]:
    bars = candles("EUR_USD", "H1", START, "MBA", first=True)
    return [_facts_of_stub(bar) for bar in takewhile(lambda bar: _time(bar) < end, bars)]


def _asked(stub: OandaStub) -> list[datetime]:
    """The start of each request for bars."""
    return [datetime.fromisoformat(request.query["from"]) for request in stub.requests if request.path.endswith("/candles")]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("until", [["--to", f"{END:%Y-%m-%d}"], []], ids=["to an end", "to the present"])
async def test_a_backfill_that_is_killed_is_completed_by_the_same_command_from_where_it_was(
    database_url: str, stub: OandaStub, until: Sequence[str], tmp_path: Path
) -> None:
    settings, arguments = _settings(stub, database_url), _arguments(*until)
    async with command(*arguments, cwd=tmp_path, **settings) as killed:
        await wait_until(lambda: len(_asked(stub)) > 20 or killed.returncode is not None, "it is on its way", 60)
        assert killed.returncode is None, killed.text
        assert await killed.stop(signal.SIGKILL) == -signal.SIGKILL
    there, first = _asked(stub), len(await _stored(database_url, Granularity.H1))
    assert first >= _PAGE * 15

    stub.requests.clear()
    began = utc_now()
    async with command(*arguments, cwd=tmp_path, **settings) as process:
        assert await process.wait(60) == 0, process.text
        assert TOKEN not in process.text
    again = _asked(stub)
    # Only the page in flight, and a page stored but not yet noted, may be fetched again.
    assert there[-3] <= again[0] <= there[-1] + timedelta(days=30)
    assert again == sorted(set(again))

    stored = await _stored(database_url, Granularity.H1)
    end = END if until else Granularity.H1.start(began)
    assert [_facts(bar) for bar in stored if bar.time < end] == _of_stub(end)
    assert len(stored) - first == pytest.approx(_PAGE * len(again), abs=2 * _PAGE)
    weeks = await _stored(database_url, Granularity.W)
    assert sum(week.volume for week in weeks) == sum(bar.volume for bar in stored)


async def test_a_backfill_that_is_run_again_changes_nothing(database_url: str, stub: OandaStub, tmp_path: Path) -> None:
    stub.knobs.most_bars = 5000
    settings, arguments = _settings(stub, database_url), _arguments("--to", "2023-04-01")
    said = []
    for _ in range(2):
        async with command(*arguments, cwd=tmp_path, **settings) as process:
            assert await process.wait(60) == 0, process.text
            said.append(process.output[-1])
    assert [_facts(bar) for bar in await _stored(database_url, Granularity.H1)] == _of_stub(datetime(2023, 4, 1, tzinfo=UTC))
    assert "EUR_USD H1" in said[0]
    assert " 0 bars new or changed" not in said[0]
    assert " 0 bars new or changed" in said[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "2026-01-05", "--to", "2026-01-04"], "--from: must be before --to, and in the past"),
        (["--from", "2099-01-05"], "--from: must be before --to, and in the past"),
        (["--from", "yesterday"], "'yesterday' does not match"),
        (["--from", "2026-01-05", "--granularity", "H3"], "'H3' is not one of"),
        (["--from", "2026-01-05", "--pair", "nonsense"], "Invalid instrument: nonsense"),
        (["--from", "2026-01-05", "--pair", "USD_SEK"], "Invalid instrument: USD_SEK"),
        (["--from", "2026-01-05", "--source", "simulated"], "SOURCE: simulated has no history to fetch"),
        (["--from", "2026-01-05", "--source", "bank"], "SOURCE: "),
        (["--to", "2026-01-05"], "Missing option '--from'"),
    ],
)
async def test_an_argument_that_cannot_be_is_told_in_a_line_and_exit_code_2(
    sqlite_url: str, stub: OandaStub, arguments: Sequence[str], said: str, tmp_path: Path
) -> None:
    chosen = [] if "--source" in arguments else ["--source", "oanda"]
    async with command("backfill", *arguments, *chosen, cwd=tmp_path, **_settings(stub, sqlite_url)) as process:
        assert await process.wait() == 2
    assert sum(said in line for line in process.output) == 1
    assert "Traceback" not in process.text
    if process.output[0].startswith("fx-gateway: "):
        assert len(process.output) == 1
    else:
        assert process.output[0].startswith("Usage: ")
    assert stub.requests == []

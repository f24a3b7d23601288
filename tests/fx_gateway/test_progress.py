"""What the terminal is told of work that takes a while."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings, load_settings
from app.errors import ConfigurationError, NotOffered, SourceError
from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair
from app.sources import SOURCES
from app.storage.database.database import open_database
from app.storage.market.candles import Candles
from fx_gateway.progress import backfill
from tests.fx_gateway.terminal import Terminal
from tests.providers.ecb.frankfurter_stub import FrankfurterStub, frankfurter_stub
from tests.providers.kraken.stub import NOON, KrakenStub, bar, kraken_stub
from tests.providers.oanda.stub import TOKEN, OandaStub
from tests.providers.oanda.stub_running import hurry
from tests.providers.oanda.stub_stream import Failure

_EUR_USD, _GBP_JPY, _USD_JPY = CurrencyPair("EUR", "USD"), CurrencyPair("GBP", "JPY"), CurrencyPair("USD", "JPY")
_START = datetime.fromtimestamp(NOON, UTC)
_HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.backoff._SHORTEST_LIMIT", 0.01)
    monkeypatch.setattr("app.backoff._LONGEST_LIMIT", 0.01)
    monkeypatch.setattr("app.providers.kraken.candles._BETWEEN_REQUESTS", 0.01)


@pytest.fixture
async def kraken() -> AsyncIterator[KrakenStub]:
    async with kraken_stub() as stub:
        stub.bars = [bar(NOON + 3600 * hour) for hour in range(30)]
        yield stub


@pytest.fixture
async def frankfurter() -> AsyncIterator[FrankfurterStub]:
    async with frankfurter_stub() as stub:
        yield stub


def _settings(tmp_path: Path, **others: Any) -> Settings:
    return load_settings(**{"data_dir": tmp_path, "tracked_pairs": "EUR_USD,GBP_JPY,USD_JPY", **others})


async def _stored(settings: Settings, pair: CurrencyPair, granularity: Granularity) -> list[Candle]:
    async with open_database(settings.database_address) as database:
        return await Candles(database, SOURCES).page(pair, granularity, start=None, end=None, limit=10_000)


async def _fetch(settings: Settings, *pairs: CurrencyPair, length: Granularity = Granularity.H1, hours: int = 30) -> list[str]:
    terminal = Terminal()
    await backfill(settings, pairs=pairs, granularity=length, start=_START, end=_START + hours * _HOUR, console=terminal)
    return terminal.lines


async def test_what_is_fetched_is_shown_pair_by_pair(tmp_path: Path, kraken: KrakenStub) -> None:
    settings = _settings(tmp_path, source="kraken", kraken_rest_url=kraken.rest_url)
    first, second = await _fetch(settings, _EUR_USD, _USD_JPY)
    assert first.startswith("EUR_USD H1 ")
    assert " 100% " in first
    assert "bars new or changed" in first
    assert second.startswith("USD_JPY H1 ")
    stored = await _stored(settings, _EUR_USD, Granularity.H1)
    assert [bar.time for bar in stored] == [_START + hour * _HOUR for hour in range(30)]
    [again] = await _fetch(settings, _EUR_USD)
    assert again.endswith(" 0 bars new or changed")


async def test_a_pair_that_the_source_has_not_is_one_line_and_the_others_are_fetched(tmp_path: Path, kraken: KrakenStub) -> None:
    settings = _settings(tmp_path, source="kraken", kraken_rest_url=kraken.rest_url)
    lines = await _fetch(settings, _EUR_USD, _GBP_JPY, _USD_JPY)
    assert [line.split()[0] for line in lines[:2]] == ["EUR_USD", "USD_JPY"]
    assert lines[2:] == ["skipped: Kraken has no bars of GBP_JPY: EQuery:Unknown asset pair"]
    assert len(await _stored(settings, _USD_JPY, Granularity.H1)) == 30


async def test_where_the_source_has_none_of_the_pairs_that_is_the_error(tmp_path: Path, kraken: KrakenStub) -> None:
    settings = _settings(tmp_path, source="kraken", kraken_rest_url=kraken.rest_url)
    with pytest.raises(NotOffered, match=r"^Kraken has no bars of GBP_JPY: EQuery:Unknown asset pair$"):
        await _fetch(settings, _GBP_JPY)


async def test_a_source_that_fails_ends_it_and_what_it_gave_is_kept(tmp_path: Path, kraken: KrakenStub) -> None:
    settings = _settings(tmp_path, source="kraken", kraken_rest_url=kraken.rest_url)
    await _fetch(settings, _EUR_USD)
    kraken.bar_failures = [(503, "")] * 10
    with pytest.raises(SourceError, match="does not answer in 5 attempts"):
        await _fetch(settings, _USD_JPY, _EUR_USD)
    assert len(await _stored(settings, _EUR_USD, Granularity.H1)) == 30


async def test_oanda_is_asked_for_many_pages_and_a_pair_that_it_has_not_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with OandaStub() as stub:
        hurry(monkeypatch, stub)
        stub.knobs.most_bars = 100
        urls = {"oanda_rest_url": stub.rest_url, "oanda_stream_url": stub.stream_url}
        settings = _settings(tmp_path, source="oanda", oanda_token=TOKEN, **urls)
        lines = await _fetch(settings, _GBP_JPY, _EUR_USD, hours=700)
        assert lines[0].startswith("EUR_USD H1 ")
        [line] = lines[1:]
        assert line.startswith("skipped: OANDA refuses the request: status 400, Invalid value specified for 'instrument'")
        stub.knobs.rest_failures.append(Failure(401, b"{}"))
        with pytest.raises(SourceError, match="OANDA refuses us: status 401"):
            await _fetch(settings, _EUR_USD)
    assert len(await _stored(settings, _EUR_USD, Granularity.H1)) > 400


async def test_rates_of_the_ecb_are_days(tmp_path: Path, frankfurter: FrankfurterStub) -> None:
    frankfurter.fixings[date(2025, 11, 25)] = {"USD": "1.0849"}
    settings = _settings(tmp_path, source="ecb", frankfurter_url=frankfurter.url)
    [line] = await _fetch(settings, _EUR_USD, length=Granularity.D, hours=100)
    assert line.startswith("EUR_USD D ")
    [day] = await _stored(settings, _EUR_USD, Granularity.D)
    assert day.mid.close == Decimal("1.08490")
    with pytest.raises(ConfigurationError, match=r"^--granularity: ecb has D$"):
        await _fetch(settings, _EUR_USD)


async def test_a_source_without_history_is_an_error_that_names_those_with(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^SOURCE: simulated has no history to fetch; oanda, kraken and ecb have$"):
        await _fetch(_settings(tmp_path, source="simulated"), _EUR_USD)

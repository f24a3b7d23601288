import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings, load_settings
from app.errors import ConfigurationError, SourceError
from app.market.bars.candle import Granularity
from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs
from app.market.quote import Quote
from app.market.source import PriceSource
from app.providers.ecb.source import EcbSource
from app.providers.kraken.source import KrakenSource
from app.providers.oanda.source import OandaSource
from app.providers.preference import PreferredSources, Switch
from app.providers.reconnecting import ReconnectingSource
from app.providers.replay.source import ReplaySource
from app.providers.simulated.source import SimulatedSource
from jobs.running.sources import open_history, open_source
from tests.providers.ecb.frankfurter_stub import frankfurter_stub
from tests.providers.kraken.stub import NOON, bar, kraken_stub
from tests.providers.oanda.stub import TOKEN, OandaStub
from tests.providers.oanda.stub_running import hurry
from tests.providers.oanda.stub_stream import ACCOUNT
from tests.waiting import wait_until

_EUR_USD = CurrencyPair("EUR", "USD")
_MONDAY = datetime(2024, 3, 4, tzinfo=UTC)


@pytest.fixture
async def oanda(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OandaStub]:
    async with OandaStub() as stub:
        hurry(monkeypatch, stub)
        yield stub


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with OANDA's token, and a line end as editors leave one."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def _settings(*source: str, **others: Any) -> Settings:
    return load_settings(source=source, **{"tracked_pairs": "EUR_USD,USD_JPY", **others})


def _of_oanda(stub: OandaStub, token_file: Path, *source: str, **others: Any) -> Settings:
    urls = {"oanda_rest_url": stub.rest_url, "oanda_stream_url": stub.stream_url}
    return _settings(*(source or ("oanda",)), oanda_token_file=token_file, **urls, **others)


async def _take(source: PriceSource, count: int) -> list[Quote]:
    quotes: list[Quote] = []
    async with asyncio.timeout(30):
        async for quote in source.quotes():
            quotes.append(quote)
            if len(quotes) == count:
                break
    return quotes


# ---------------------------------------------------------------- prices


def test_each_name_is_a_source(fx_data: Path) -> None:
    replay = (fx_data / "truefx" / "usdjpy-ticks.csv",)
    kinds = {"simulated": SimulatedSource, "kraken": KrakenSource, "ecb": EcbSource, "replay": ReplaySource, "oanda": OandaSource}
    for name, kind in kinds.items():
        source = open_source(_settings(name, oanda_token=TOKEN, replay_files=replay))
        assert isinstance(source, ReconnectingSource) is (name in ("kraken", "oanda"))
        assert isinstance(source.source if isinstance(source, ReconnectingSource) else source, kind)
        assert (source.name, source.simulated) == (name, name == "simulated")


async def test_a_replay_takes_its_speed_from_the_settings(fx_data: Path) -> None:
    settings = load_settings(source="replay", replay_files=(fx_data / "oanda/hour/eurusd.zip",), replay_speed=3_600_000)
    times = [quote.time for quote in await _take(open_source(settings), 3)]
    assert [time - times[0] for time in times] == [timedelta(milliseconds=number) for number in range(3)]


async def test_a_simulation_takes_pairs_seed_and_rate_from_the_settings() -> None:
    settings = load_settings(source="simulated", simulated_seed=5, simulated_rate=5000)
    expected = await _take(SimulatedSource(TrackedPairs(DEFAULT_PAIRS), 5, 5000), 20)
    quotes = await _take(open_source(settings), 20)
    assert [(quote.pair, quote.bid, quote.ask) for quote in quotes] == [(quote.pair, quote.bid, quote.ask) for quote in expected]


async def test_kraken_is_asked_where_the_settings_say() -> None:
    async with kraken_stub() as kraken:
        kraken.last["EUR/USD"] = "1.0841", "1.0842", None
        [quote] = await _take(open_source(_settings("kraken", kraken_url=kraken.url)), 1)
    assert (quote.pair, str(quote.bid)) == (_EUR_USD, "1.0841")


async def test_frankfurter_is_asked_where_the_settings_say() -> None:
    async with frankfurter_stub() as frankfurter:
        frankfurter.fixings[date(2026, 1, 30)] = {"USD": "1.0835"}
        [quote] = await _take(open_source(_settings("ecb", frankfurter_url=frankfurter.url)), 1)
    assert (quote.pair, str(quote.bid)) == (_EUR_USD, "1.08350")


async def test_oanda_is_asked_where_the_settings_say_with_the_token_of_the_file(oanda: OandaStub, token_file: Path) -> None:
    oanda.knobs.accounts = ["101-004-7654321-002", ACCOUNT]
    settings = _of_oanda(oanda, token_file, oanda_account=ACCOUNT)
    quotes = await _take(open_source(settings), 2)
    assert {quote.pair.name for quote in quotes} == {"EUR_USD", "USD_JPY"}
    assert {request.path for request in oanda.requests} == {
        f"/v3/accounts/{ACCOUNT}/instruments",
        f"/v3/accounts/{ACCOUNT}/pricing/stream",
    }
    with pytest.raises(SourceError, match="several accounts"):
        await _take(open_source(_of_oanda(oanda, token_file)), 1)


async def test_a_hole_in_oandas_stream_is_told_once_it_is_over(oanda: OandaStub, token_file: Path) -> None:
    holes: list[tuple[datetime, datetime]] = []
    source = open_source(
        _of_oanda(oanda, token_file, "oanda", "simulated"), on_hole=lambda start, end: holes.append((start, end))
    )
    quotes: list[Quote] = []

    async def read() -> None:
        async for quote in source.quotes():
            quotes.append(quote)  # noqa: PERF401 - read by the test meanwhile

    reading = asyncio.create_task(read())
    try:
        await wait_until(lambda: bool(quotes), "there are prices", 30)
        assert holes == []
        oanda.break_off("reset")
        await wait_until(lambda: bool(holes), "the hole is reported", 30)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    [(start, end)] = holes
    assert start < end


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "cannot be read: FileNotFoundError"), (" \n", "the file is empty"), ("caf\xe9", "cannot be read")],
)
async def test_a_token_file_that_cannot_be_used_is_a_wrong_setting(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    settings = _settings("kraken", "oanda", oanda_token_file=path)
    with pytest.raises(ConfigurationError, match=f"^OANDA_TOKEN_FILE: .*{message}") as failure:
        open_source(settings)
    assert "caf" not in str(failure.value)


def test_a_token_that_cannot_be_one_is_an_error_that_does_not_tell_it() -> None:
    with pytest.raises(SourceError, match="token is empty, or has characters that no token has") as failure:
        open_source(_settings("oanda", oanda_token="secret with spaces"))
    assert "secret" not in str(failure.value)


# ---------------------------------------------------------------- several


async def test_several_sources_stand_in_for_each_other_after_the_silence_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    switches: list[Switch] = []
    async with kraken_stub() as kraken:
        kraken.last["EUR/USD"] = "1.0841", "1.0842", None
        settings = _settings("kraken", "simulated", kraken_url=kraken.url, source_silence=0.5, simulated_rate=200)
        source = open_source(settings, on_switch=switches.append)
        assert isinstance(source, PreferredSources)
        assert list(source.states) == ["kraken", "simulated"]
        quotes = await _take(source, 5)
    # No invented price of the pair that Kraken has not quoted stands beside its own.
    assert [quote.source for quote in quotes] == ["kraken"] + ["simulated"] * 4
    assert [(switch.previous, switch.source, switch.reason) for switch in switches] == [
        (None, "kraken", "kraken quotes"),
        ("kraken", "simulated", "kraken has not quoted for 0.5 s"),
    ]


@pytest.mark.parametrize(
    ("names", "first"),
    [("simulated,kraken", "simulated"), ("kraken,replay,ecb", "replay"), ("simulated,replay,kraken", "replay")],
)
def test_an_invented_source_before_a_real_one_is_a_wrong_setting(names: str, first: str, fx_data: Path) -> None:
    settings = load_settings(source=names, replay_files=(fx_data / "truefx" / "usdjpy-ticks.csv",))
    with pytest.raises(ConfigurationError, match=f"^SOURCE: {first} must be alone or come last"):
        open_source(settings)


def test_invented_sources_may_follow_each_other(fx_data: Path) -> None:
    settings = load_settings(source="ecb,replay,simulated", replay_files=(fx_data / "truefx" / "usdjpy-ticks.csv",))
    source = open_source(settings)
    assert isinstance(source, PreferredSources)
    assert list(source.states) == ["ecb", "replay", "simulated"]


# ---------------------------------------------------------------- bars


@pytest.mark.parametrize("names", [("simulated",), ("replay",), ("replay", "simulated")])
async def test_invented_prices_have_no_history_and_need_no_file_for_that(names: tuple[str, ...]) -> None:
    settings = _settings(*names, replay_files=(Path("elsewhere.zip"),))
    async with open_history(settings) as history:
        assert history is None


@pytest.mark.parametrize(
    ("names", "first"),
    [("kraken,oanda,ecb", "kraken"), ("oanda,kraken", "oanda"), ("ecb,simulated", "ecb")],
)
async def test_history_is_that_of_the_first_source_that_has_any(names: str, first: str) -> None:
    async with open_history(load_settings(source=names, oanda_token=TOKEN)) as history:
        assert history is not None
        assert history.name == first


async def test_the_bars_of_kraken_come_from_where_the_settings_say() -> None:
    start = datetime.fromtimestamp(NOON, UTC)
    async with kraken_stub() as kraken:
        kraken.bars = [bar(NOON), bar(NOON + 3600)]
        async with open_history(_settings("kraken", kraken_rest_url=kraken.rest_url)) as history:
            assert history is not None
            fetched = history.fetch_candles(_EUR_USD, Granularity.H1, start, start + timedelta(days=1))
            assert [bar.time async for page in fetched for bar in page] == [start, start + timedelta(hours=1)]


async def test_the_rates_of_the_ecb_come_from_where_the_settings_say() -> None:
    async with frankfurter_stub() as frankfurter:
        frankfurter.fixings[date(2024, 3, 5)] = {"USD": "1.0849"}
        async with open_history(_settings("ecb", frankfurter_url=frankfurter.url)) as history:
            assert history is not None
            fetched = history.fetch_candles(_EUR_USD, Granularity.D, _MONDAY, _MONDAY + timedelta(days=2))
            assert [str(bar.mid.close) async for page in fetched for bar in page] == ["1.08490"]


async def test_the_bars_of_oanda_come_over_one_connection_for_as_long_as_its_history_is_open(
    oanda: OandaStub, token_file: Path
) -> None:
    async with open_history(_of_oanda(oanda, token_file, "replay", "oanda", replay_files=(Path("elsewhere.zip"),))) as history:
        assert history is not None
        for pair in (_EUR_USD, CurrencyPair("USD", "JPY")):
            fetched = history.fetch_candles(pair, Granularity.H1, _MONDAY, _MONDAY + timedelta(hours=3))
            async with aclosing(fetched):
                assert [len(page) async for page in fetched] == [3]
        assert len(oanda.connections) == 1


async def test_history_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="OANDA_TOKEN_FILE"):
        async with open_history(_settings("oanda", oanda_token_file=tmp_path / "missing")):
            pass

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from app.errors import NotOffered, SourceError
from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.bars.history import CandleSource
from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs
from app.market.quote import Quote, QuoteKind
from app.market.source import PriceSource
from app.providers.ecb.source import EcbSource
from app.providers.reference_rates import reference_rates
from tests.providers.ecb.frankfurter_stub import NOT_FOUND, Answer, Fault, FrankfurterStub, frankfurter_stub
from tests.waiting import wait_until

_EUR_USD, _USD_JPY, _USD_CNH = CurrencyPair("EUR", "USD"), CurrencyPair("USD", "JPY"), CurrencyPair("USD", "CNH")
_RATES = {"USD": "1.0835", "JPY": "163.27", "GBP": "0.84", "CNY": "7.8012", "HKD": "8.4297", "AUD": "1.6", "NZD": "1.7"}
_FRIDAY, _MONDAY = date(2026, 1, 30), date(2026, 2, 2)


@pytest.fixture
async def frankfurter() -> AsyncIterator[FrankfurterStub]:
    async with frankfurter_stub() as stub:
        stub.fixings[_FRIDAY] = _RATES
        yield stub


async def _take(source: EcbSource, count: int) -> list[Quote]:
    async with aclosing(source.quotes()) as quotes, asyncio.timeout(10):
        return [await anext(quotes) for _ in range(count)]


async def _bars(source: EcbSource, pair: CurrencyPair, start: datetime, end: datetime) -> list[Candle]:
    pages = [page async for page in source.fetch_candles(pair, Granularity.D, start, end)]
    assert all(pages)
    return list(itertools.chain.from_iterable(pages))


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the source warns of; on a busy machine asyncio does too."""
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    return [record.getMessage() for record in warnings if record.name == "app.providers.ecb.source"]


def test_is_a_source_of_prices_and_of_daily_bars() -> None:
    prices: PriceSource = EcbSource([_EUR_USD])
    bars: CandleSource = EcbSource([_EUR_USD])
    assert (prices.name, prices.simulated, bars.granularities) == ("ecb", False, frozenset({Granularity.D}))
    assert isinstance(bars, CandleSource)


async def test_the_newest_rates_come_without_a_spread_and_with_the_time_of_the_fixing(frankfurter: FrankfurterStub) -> None:
    [quote] = await _take(EcbSource([_EUR_USD], url=frankfurter.url), 1)
    rate = Decimal("1.08350")
    assert quote == Quote(_EUR_USD, rate, rate, datetime(2026, 1, 30, 13, 15, tzinfo=UTC), "ecb", QuoteKind.DAILY)
    frankfurter.fixings[date(2026, 7, 1)] = _RATES
    [quote] = await _take(EcbSource([_EUR_USD], url=frankfurter.url), 1)
    assert quote.time == datetime(2026, 7, 1, 12, 15, tzinfo=UTC)


async def test_crosses_are_the_quotient_of_two_rates_at_the_precision_of_the_pair(frankfurter: FrankfurterStub) -> None:
    names = ["USD_JPY", "GBP_USD", "EUR_JPY", "AUD_NZD", "JPY_EUR"]
    prices = {quote.pair.name: str(quote.bid) for quote in await _take(EcbSource(TrackedPairs(names), url=frankfurter.url), 5)}
    assert prices == {
        "USD_JPY": "150.688",  # 163.27 / 1.0835 = 150.687…
        "GBP_USD": "1.28988",  # 1.0835 / 0.84 = 1.289880…
        "EUR_JPY": "163.270",
        "AUD_NZD": "1.06250",  # exact
        "JPY_EUR": "0.00612",  # 1 / 163.27 = 0.0061248…
    }


async def test_offshore_renminbi_is_priced_as_onshore(frankfurter: FrankfurterStub) -> None:
    [offshore, onshore] = await _take(EcbSource(TrackedPairs(["USD_CNH", "USD_CNY"]), url=frankfurter.url), 2)
    assert offshore.bid == onshore.bid == Decimal("7.20000")  # 7.8012 / 1.0835 = 7.2000
    assert "CNH" not in frankfurter.requests[0]


async def test_rates_come_again_only_when_there_are_newer_ones(frankfurter: FrankfurterStub) -> None:
    source = EcbSource([_EUR_USD, _USD_JPY], url=frankfurter.url, refresh=0.02)
    async with aclosing(source.quotes()) as quotes:
        first = [await anext(quotes), await anext(quotes)]
        following = asyncio.ensure_future(anext(quotes))
        asked = len(frankfurter.requests)
        await wait_until(lambda: len(frankfurter.requests) > asked + 3, "several looks for new rates")
        assert not following.done()
        # The same rate on another day is news; what was before is not.
        frankfurter.fixings[date(2026, 1, 29)] = {"USD": "9", "JPY": "9"}
        frankfurter.fixings[_MONDAY] = _RATES
        second = [await following, await anext(quotes)]
    assert [quote.bid for quote in first] == [quote.bid for quote in second]
    assert {quote.time.date() for quote in first} == {_FRIDAY}
    assert {quote.time.date() for quote in second} == {_MONDAY}


async def test_a_pair_without_rates_is_left_out(frankfurter: FrankfurterStub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    gold = CurrencyPair("XAU", "USD")
    source = EcbSource([gold, _EUR_USD], url=frankfurter.url)
    assert [quote.pair for quote in await _take(source, 1)] == [_EUR_USD]
    assert "serves 1 pairs; not served: XAU_USD" in caplog.text
    with pytest.raises(SourceError, match="rates for none of the pairs: XAU_USD"):
        await _take(EcbSource([gold], url=frankfurter.url), 1)


_FAULTS: dict[str, Fault] = {
    "an error": Answer(500, '{"message":"down"}'),
    "not found": NOT_FOUND,
    "a page": Answer(200, "<html><title>Maintenance</title></html>", "text/html"),
    "half an answer": "cut",
    "no JSON object": Answer(200, "[]"),
    "no rates": Answer(200, '{"date":"2026-01-30"}'),
    "no date": Answer(200, '{"rates":{"USD":1.0835}}'),
    "another date": Answer(200, '{"date":"30 January","rates":{"USD":1.0835}}'),
    "a date to come": Answer(200, '{"date":"2126-01-30","rates":{"USD":1.0835}}'),
    "a date too early": Answer(200, '{"date":"1998-01-30","rates":{"USD":1.0835}}'),
    "no number": Answer(200, '{"date":"2026-01-30","rates":{"USD":NaN}}'),
    "zero": Answer(200, '{"date":"2026-01-30","rates":{"USD":0}}'),
    "true": Answer(200, '{"date":"2026-01-30","rates":{"USD":true}}'),
    "a number out of bounds": Answer(200, '{"date":"2026-01-30","rates":{"USD":1e99999999999999999999}}'),
    "too deep": Answer(200, "[" * 100_000),
    "too long": Answer(200, '{"date":"' + "x" * 3_000_000 + '"}'),
}


@pytest.mark.parametrize("fault", _FAULTS.values(), ids=_FAULTS)
async def test_without_an_answer_the_rates_that_came_with_the_program_are_used(
    frankfurter: FrankfurterStub, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    frankfurter.fault = fault
    quotes = await _take(EcbSource(TrackedPairs(DEFAULT_PAIRS), url=frankfurter.url), len(DEFAULT_PAIRS))
    table = reference_rates(("USD", "JPY", "CNY"), 1)
    prices = {quote.pair: quote for quote in quotes}
    usd, jpy, cny = table.rows[0]
    assert prices[_EUR_USD].bid == prices[_EUR_USD].ask == usd
    assert prices[_USD_JPY].bid == _USD_JPY.round(jpy / usd)
    assert prices[_USD_CNH].bid == _USD_CNH.round(cny / usd)
    assert {quote.time.date() for quote in quotes} == {table.dates[0]}
    [warning] = _warnings(caplog)
    assert warning.endswith(f"using those of {table.dates[0]}")


async def test_where_nothing_answers_the_rates_that_came_with_the_program_are_used() -> None:
    async with frankfurter_stub() as stub:
        url = stub.url
    [quote] = await _take(EcbSource([_EUR_USD], url=url), 1)
    assert quote.kind is QuoteKind.DAILY
    with pytest.raises(SourceError, match="none of the pairs: USD_RUB, XAU_XAG"):
        await _take(EcbSource(TrackedPairs(["USD_RUB", "XAU_XAG"]), url=url), 1)
    with pytest.raises(SourceError, match="no rates for XAU_USD"):
        await _bars(EcbSource([], url=url), CurrencyPair("XAU", "USD"), datetime(2026, 1, 5, tzinfo=UTC), datetime.now(UTC))


async def test_an_address_that_is_none_leaves_the_rates_that_came_with_the_program() -> None:
    [quote] = await _take(EcbSource([_EUR_USD], url="http://[::1"), 1)
    assert quote.pair == _EUR_USD


async def test_an_answer_that_never_comes_is_not_waited_for_without_end(
    frankfurter: FrankfurterStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.providers.ecb.rates._ANSWERS_WITHIN", 0.2)
    frankfurter.fault = "silence"
    [quote] = await _take(EcbSource([_EUR_USD], url=frankfurter.url), 1)
    assert quote.time.date() == reference_rates(("USD",), 1).dates[0]


async def test_an_outage_is_told_once_and_ends_with_newer_rates(
    frankfurter: FrankfurterStub, caplog: pytest.LogCaptureFixture
) -> None:
    source = EcbSource([_EUR_USD], url=frankfurter.url, refresh=0.02)
    async with aclosing(source.quotes()) as quotes:
        await anext(quotes)
        frankfurter.fault = Answer(500, "")
        following = asyncio.ensure_future(anext(quotes))
        asked = len(frankfurter.requests)
        await wait_until(lambda: len(frankfurter.requests) > asked + 3, "several failures")
        assert not following.done()
        frankfurter.fault, frankfurter.fixings[_MONDAY] = None, {"USD": "1.09"}
        assert (await following).bid == Decimal("1.09")
    [warning] = _warnings(caplog)
    assert warning.endswith(f"status 500; using those of {_FRIDAY}")


async def test_a_bar_is_that_of_the_trading_day_of_the_fixing(frankfurter: FrankfurterStub) -> None:
    frankfurter.fixings[_MONDAY] = {"USD": "1.0901", "JPY": "163"}
    frankfurter.fixings[date(2026, 7, 1)] = {"USD": "1.1", "JPY": "160"}
    bars = await _bars(
        EcbSource([], url=frankfurter.url), _EUR_USD, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)
    )
    assert [bar.time.isoformat() for bar in bars] == [
        "2026-01-29T22:00:00+00:00",
        "2026-02-01T22:00:00+00:00",
        "2026-06-30T21:00:00+00:00",
    ]
    ohlc = Ohlc.of(Decimal("1.09010"))
    assert bars[1] == Candle(
        _EUR_USD, Granularity.D, datetime(2026, 2, 1, 22, tzinfo=UTC), ohlc, ohlc, ohlc, 1, complete=True, source="ecb"
    )


async def test_bars_are_those_that_start_within_the_bounds(frankfurter: FrankfurterStub) -> None:
    for days in range(5):
        frankfurter.fixings[date(2026, 3, 2) + timedelta(days=days)] = {"USD": f"1.{days}"}
    source = EcbSource([], url=frankfurter.url)
    second = datetime(2026, 3, 2, 22, tzinfo=UTC)
    bars = await _bars(source, _EUR_USD, second, second + timedelta(days=2))
    assert [bar.mid.close for bar in bars] == [Decimal("1.1"), Decimal("1.2")]
    bars = await _bars(source, _EUR_USD, second + timedelta(seconds=1), second + timedelta(days=2, seconds=1))
    assert [bar.mid.close for bar in bars] == [Decimal("1.2"), Decimal("1.3")]
    assert await _bars(source, _EUR_USD, second, second) == []
    assert await _bars(source, _EUR_USD, datetime(2126, 1, 1, tzinfo=UTC), datetime(2127, 1, 1, tzinfo=UTC)) == []
    assert await _bars(source, _EUR_USD, datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 20, tzinfo=UTC)) == []


async def test_the_bar_of_today_is_not_complete(frankfurter: FrankfurterStub) -> None:
    now = datetime.now(UTC)
    today = Granularity.D.start(now)
    # The newest fixing that may be known by now, and the bar that it is in
    frankfurter.fixings = {now.date() - timedelta(days=days): {"USD": "1.1"} for days in range(1, 4)}
    bars = await _bars(EcbSource([], url=frankfurter.url), _EUR_USD, now - timedelta(days=9), now)
    assert [bar.complete for bar in bars] == [bar.end <= now for bar in bars]
    assert all(bar.complete for bar in bars if bar.time < today)


async def test_years_are_asked_for_in_parts_since_more_than_one_at_once_comes_by_the_week(frankfurter: FrankfurterStub) -> None:
    table = reference_rates(("USD",), 800)
    frankfurter.fixings = {day: {"USD": str(rate)} for day, (rate,) in zip(table.dates, table.rows, strict=True)}
    start = datetime(table.dates[0].year, table.dates[0].month, table.dates[0].day, tzinfo=UTC) - timedelta(days=2)
    bars = await _bars(EcbSource([], url=frankfurter.url), _EUR_USD, start, datetime.now(UTC))
    assert [bar.mid.close for bar in bars] == [_EUR_USD.round(rate) for (rate,) in table.rows]
    assert len(frankfurter.requests) > 3
    assert all("symbols=USD" in request for request in frankfurter.requests)


async def test_where_the_answers_end_the_rest_of_the_bars_is_that_at_hand(
    frankfurter: FrankfurterStub, caplog: pytest.LogCaptureFixture
) -> None:
    table = reference_rates(("USD", "JPY"), 500)
    rows = zip(table.dates, table.rows, strict=True)
    frankfurter.fixings = {day: {"USD": str(usd), "JPY": str(jpy)} for day, (usd, jpy) in rows}
    start = datetime(table.dates[0].year, table.dates[0].month, table.dates[0].day, tzinfo=UTC) - timedelta(days=2)
    whole = await _bars(EcbSource([], url=frankfurter.url), _USD_JPY, start, datetime.now(UTC))
    first, *_ = frankfurter.requests
    frankfurter.faults = [frankfurter.answer(first), Answer(500, "")]
    in_parts = await _bars(EcbSource([], url=frankfurter.url), _USD_JPY, start, datetime.now(UTC))
    assert in_parts == whole
    assert len(whole) == 500
    assert f"using those up to {table.dates[-1]}" in caplog.text


@pytest.mark.parametrize("rates", ["[]", "null", '{"2026-01-30":{"USD":0}}', '{"2026-01-30":7}', '{"Friday":{"USD":1.08}}'])
async def test_bars_are_those_at_hand_where_the_answer_cannot_be_read(frankfurter: FrankfurterStub, rates: str) -> None:
    frankfurter.fault = Answer(200, f'{{"base":"EUR","rates":{rates}}}')
    start = datetime(2026, 1, 29, tzinfo=UTC)
    [bar] = await _bars(EcbSource([], url=frankfurter.url), _EUR_USD, start, start + timedelta(days=1))
    assert bar.time == datetime(2026, 1, 29, 22, tzinfo=UTC)
    assert bar.mid.close > 1


async def test_all_bars_since_the_first_fixing_are_at_hand(frankfurter: FrankfurterStub) -> None:
    frankfurter.fault = NOT_FOUND
    bars = await _bars(EcbSource([], url=frankfurter.url), _EUR_USD, datetime(1, 1, 1, tzinfo=UTC), datetime.now(UTC))
    assert bars[0].time.date() == date(1999, 1, 3)
    assert bars[0].mid.close == Decimal("1.17890")
    assert len(bars) > 7000


@pytest.mark.parametrize(("base", "quote"), [("XAU", "USD"), ("EUR", "XAU")])
async def test_bars_of_a_pair_without_rates_are_not_offered(frankfurter: FrankfurterStub, base: str, quote: str) -> None:
    source = EcbSource([], url=frankfurter.url)
    with pytest.raises(NotOffered, match=f"no rates for {base}_{quote}"):
        await _bars(source, CurrencyPair(base, quote), datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 2, 5, tzinfo=UTC))
    with pytest.raises(NotOffered, match="no H1 bars"):
        await anext(source.fetch_candles(_EUR_USD, Granularity.H1, datetime.now(UTC), datetime.now(UTC)))

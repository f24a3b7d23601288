import asyncio
import itertools
import logging
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app.errors import SourceError
from app.market.bars.history import CandleSource
from app.market.clock import utc_now
from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs
from app.market.quote import Quote, QuoteKind
from app.market.source import PriceSource
from app.providers.kraken.source import KrakenSource
from tests.providers.kraken.reading import kraken_reading
from tests.providers.kraken.stub import LISTED, KrakenStub
from tests.waiting import wait_until

_EUR_USD = CurrencyPair("EUR", "USD")


def test_is_a_source_of_prices_and_of_bars() -> None:
    prices: PriceSource = KrakenSource([_EUR_USD])
    bars: CandleSource = KrakenSource([_EUR_USD])
    assert (prices.name, prices.simulated, sorted(bars.granularities)) == ("kraken", False, ["H1", "M1", "M15", "M5"])
    assert isinstance(bars, CandleSource)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/v2", "wss://", "ws://user:secret@127.0.0.1/v2", "wss://host:port/v2", "ws://[::1"]
)
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(SourceError, match="not a URL of the form") as refusal:
        KrakenSource([_EUR_USD], url=url)
    assert "secret" not in str(refusal.value)
    with pytest.raises(SourceError, match="not a URL of the form"):
        KrakenSource([_EUR_USD], rest_url=url.replace("http", "ftp"))


async def test_the_last_price_comes_first_and_all_that_follow(kraken: KrakenStub) -> None:
    await kraken.quote("EUR/USD", "1.08410", "1.08420", "2026-01-30T11:59:58.031742Z")
    async with kraken_reading(kraken) as reading:
        await reading.until(1)
        await kraken.quote("EUR/USD", "1.08411", "1.08421", "2026-01-30T11:59:59Z")
        await reading.until(2)
    first, second = reading.quotes
    assert first == Quote(
        _EUR_USD, Decimal("1.08410"), Decimal("1.08420"), datetime(2026, 1, 30, 11, 59, 58, 31742, tzinfo=UTC), "kraken"
    )
    assert (second.bid, second.time) == (Decimal("1.08411"), datetime(2026, 1, 30, 11, 59, 59, tzinfo=UTC))


async def test_changes_of_the_best_bid_and_ask_are_asked_for_in_requests_of_bounded_size(kraken: KrakenStub) -> None:
    async with kraken_reading(kraken, DEFAULT_PAIRS):
        instruments, *requests = kraken.subscriptions
    assert instruments["channel"] == "instrument"
    assert len(requests) > 1
    for request in requests:
        symbols = request["symbol"]
        assert request == {"channel": "ticker", "symbol": symbols, "event_trigger": "bbo", "snapshot": True}
        assert isinstance(symbols, list)
        assert 0 < len(symbols) <= 10


@pytest.mark.parametrize(
    ("bid", "ask"),
    [
        ("1.0841000000000000001", "1.0842000000000000001"),
        ("1", "2"),
        ("1.10", "1.20"),
        ("10841e-4", "1.0842E+0"),
        ("0.30000000000000004", "0.30000000000000005"),
    ],
)
async def test_prices_are_exactly_those_that_are_written(kraken: KrakenStub, bid: str, ask: str) -> None:
    await kraken.quote("EUR/USD", bid, ask)
    async with kraken_reading(kraken) as reading:
        await reading.until(1)
    [quote] = reading.quotes
    assert (str(quote.bid), str(quote.ask)) == (str(Decimal(bid)), str(Decimal(ask)))


async def test_a_price_without_a_time_has_the_time_at_which_it_came(kraken: KrakenStub) -> None:
    before = utc_now()
    async with kraken_reading(kraken) as reading:
        for points in range(3):
            await kraken.quote("EUR/USD", f"1.0841{points}", "1.085", time=None)
        await reading.until(3)
    assert all(before <= quote.time <= utc_now() for quote in reading.quotes)
    assert all(one.time <= other.time for one, other in itertools.pairwise(reading.quotes))


async def test_pairs_that_are_not_listed_are_computed_or_left_out(kraken: KrakenStub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "app")
    async with kraken_reading(kraken, DEFAULT_PAIRS) as reading:
        await wait_until(lambda: "not served: NZD_USD, AUD_NZD, USD_CNH, USD_HKD" in caplog.text, "what is served is logged")
        served = set(DEFAULT_PAIRS) - {"NZD_USD", "AUD_NZD", "USD_CNH", "USD_HKD"}
        for symbol in LISTED:
            await kraken.quote(symbol, "1.10001", "1.10002")
        await wait_until(lambda: {quote.pair.name for quote in reading.quotes} == served, "a price of every pair")
    kinds = {quote.pair.name: quote.kind for quote in reading.quotes}
    synthetic = {name for name, kind in kinds.items() if kind is QuoteKind.SYNTHETIC}
    assert synthetic == {"GBP_JPY", "GBP_CHF", "GBP_AUD", "GBP_CAD"}
    assert set(kinds.values()) == {QuoteKind.QUOTED, QuoteKind.SYNTHETIC}
    [line] = [record.getMessage() for record in caplog.records if "serves" in record.getMessage()]
    assert line == "Kraken serves 16 pairs, 4 of them computed from two others; not served: NZD_USD, AUD_NZD, USD_CNH, USD_HKD"


async def test_legs_that_are_not_tracked_are_subscribed_to_but_not_passed_on(kraken: KrakenStub) -> None:
    async with kraken_reading(kraken, ["GBP_JPY"]) as reading:
        await wait_until(lambda: kraken.is_subscribed("GBP/USD", "USD/JPY"), "the legs are subscribed to")
        await kraken.quote("GBP/USD", "1.3000", "1.3002")
        await kraken.quote("USD/JPY", "155.12", "155.20")
        await reading.until(1)
        await kraken.quote("GBP/USD", "1.3001", "1.3002")
        await reading.until(2)
    assert [(quote.pair.name, str(quote.bid), str(quote.ask)) for quote in reading.quotes] == [
        ("GBP_JPY", "201.656", "201.792"),
        ("GBP_JPY", "201.671", "201.792"),
    ]
    assert not kraken.is_subscribed("EUR/USD")


async def test_pairs_of_which_none_is_listed_are_an_error(kraken: KrakenStub) -> None:
    source = KrakenSource(TrackedPairs(["NZD_USD", "USD_HKD"]), url=kraken.url)
    with pytest.raises(SourceError, match="none of the pairs: NZD_USD, USD_HKD"):
        await anext(source.quotes())
    kraken.listed["EUR/USD"], kraken.listed["GBP/USD"] = "delisted", "work_in_progress"
    with pytest.raises(SourceError, match="none of the pairs: EUR_USD, GBP_USD"):
        await anext(KrakenSource(TrackedPairs(["EUR_USD", "GBP_USD"]), url=kraken.url).quotes())


async def test_a_refused_subscription_takes_its_pair_and_the_crosses_with_it(
    kraken: KrakenStub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app")
    kraken.refused["USD/JPY"] = "Currency pair not supported USD/JPY"
    async with kraken_reading(kraken, ["EUR_USD", "GBP_USD", "USD_JPY", "GBP_JPY"]) as reading:
        await wait_until(lambda: "not served: USD_JPY, GBP_JPY" in caplog.text, "what is left is logged")
        await kraken.quote("EUR/USD", "1.0841", "1.0842")
        await reading.until(1)
    assert "Kraken refuses the prices of USD/JPY: Currency pair not supported USD/JPY" in caplog.text


async def test_where_every_subscription_is_refused_the_source_fails(kraken: KrakenStub) -> None:
    kraken.refused = {"EUR/USD": "not today", "USD/JPY": "not today"}
    source = KrakenSource(TrackedPairs(["EUR_USD", "USD_JPY"]), url=kraken.url)
    with pytest.raises(SourceError, match="refuses the prices of every pair: not today"):
        await anext(source.quotes())


async def test_prices_are_indicative_while_the_exchange_or_the_pair_is_not_dealt_in(kraken: KrakenStub) -> None:
    kraken.listed["EUR/GBP"] = "cancel_only"
    async with kraken_reading(kraken, ["EUR_USD", "EUR_GBP"]) as reading:
        steps = [
            ("EUR/GBP", None, None),
            ("EUR/USD", None, None),
            ("EUR/USD", "maintenance", None),
            ("EUR/USD", "online", None),
            ("EUR/USD", None, "post_only"),
            ("EUR/USD", None, "online"),
        ]
        for number, (symbol, system, state) in enumerate(steps):
            if system is not None:
                await kraken.set_system(system)
            if state is not None:
                await kraken.set_state(symbol, state)
            await kraken.quote(symbol, f"1.08{number}", "1.09")
        await reading.until(len(steps))
    kinds = [quote.kind.value for quote in reading.quotes]
    assert kinds == ["indicative", "quoted", "indicative", "quoted", "indicative", "quoted"]


async def test_an_exchange_that_does_not_deal_says_so_at_the_start(kraken: KrakenStub) -> None:
    kraken.system = "maintenance"
    await kraken.quote("EUR/USD", "1.0841", "1.0842")
    async with kraken_reading(kraken) as reading:
        await reading.until(1)
    assert reading.quotes[0].kind is QuoteKind.INDICATIVE


async def test_a_reader_that_leaves_closes_the_connection_and_may_come_back(kraken: KrakenStub) -> None:
    await kraken.quote("EUR/USD", "1.0841", "1.0842")
    source = KrakenSource([_EUR_USD], url=kraken.url)
    for opened in (1, 2):
        async with aclosing(source.quotes()) as quotes, asyncio.timeout(10):
            assert (await anext(quotes)).bid == Decimal("1.0841")
        await wait_until(lambda: kraken.connections == 0, "the connection is closed")
        assert kraken.opened == opened


async def test_a_slow_reader_is_no_silence(kraken: KrakenStub) -> None:
    source = KrakenSource([_EUR_USD], url=kraken.url, silence=0.5)
    await kraken.quote("EUR/USD", "1.0841", "1.0842")
    async with aclosing(source.quotes()) as quotes:
        await anext(quotes)
        await asyncio.sleep(1.0)  # longer than the silence that ends a connection
        following = await kraken.quote("EUR/USD", "1.0843", "1.0844")
        quote = await anext(quotes)
    assert quote.time.isoformat(timespec="microseconds").replace("+00:00", "Z") == following
    assert kraken.opened == 1
    assert quote.time - utc_now() < timedelta(0)

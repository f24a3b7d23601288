from datetime import date
from decimal import Decimal

import pytest

from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs
from app.market.quote import QuoteKind
from app.providers.ecb.source import EcbSource
from app.providers.kraken.source import KrakenSource
from app.providers.simulated.source import SimulatedSource
from tests.providers.ecb.frankfurter_stub import frankfurter_stub
from tests.providers.kraken.stub import kraken_stub
from tests.providers.preferred import reading
from tests.waiting import wait_until

_PAIRS = TrackedPairs(DEFAULT_PAIRS)
_RATES = {
    "USD": "1.08", "JPY": "160", "GBP": "0.84", "CHF": "0.95", "CAD": "1.5", "AUD": "1.6", "NZD": "1.7", "CNY": "7.8",
    "HKD": "8.4",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.backoff._SHORTEST_LIMIT", 0.05)


async def test_daily_rates_stand_in_for_what_an_exchange_has_not_and_for_the_exchange_until_it_is_heard() -> None:
    async with kraken_stub() as kraken, frankfurter_stub() as frankfurter:
        frankfurter.fixings[date(2026, 1, 29)] = _RATES
        sources = KrakenSource(_PAIRS, url=kraken.url), EcbSource(_PAIRS, url=frankfurter.url)
        async with reading(*sources) as read:
            await wait_until(lambda: kraken.is_subscribed("EUR/USD"), "Kraken is subscribed to")
            await kraken.quote("EUR/USD", "1.0841", "1.0842")
            await wait_until(lambda: "kraken EUR_USD 1.0841" in read.said, "Kraken's price passes")
            read.clock.now += 2
            await wait_until(lambda: len({quote.pair for quote in read.quotes}) == len(_PAIRS), "a price of every pair")
            assert read.preferred.name == "kraken"
            of_ecb = {quote.pair.name for quote in read.quotes if quote.source == "ecb"}
            assert of_ecb == set(_PAIRS.names) - {"EUR_USD"}
            await kraken.quote("GBP/USD", "1.3000", "1.3002")
            await kraken.quote("USD/JPY", "155.12", "155.20")
            await wait_until(lambda: "kraken GBP_JPY 201.656" in read.said, "Kraken's own prices take over")
        kinds = {(quote.pair.name, quote.source): quote.kind for quote in read.quotes}
        assert kinds["GBP_JPY", "kraken"] is QuoteKind.SYNTHETIC
        assert kinds["GBP_JPY", "ecb"] is QuoteKind.DAILY


async def test_an_exchange_that_goes_away_is_stood_in_for_and_takes_over_again() -> None:
    pair = CurrencyPair("EUR", "USD")
    async with kraken_stub() as kraken:
        sources = KrakenSource([pair], url=kraken.url, silence=0.5), SimulatedSource([pair], rate=50)
        async with reading(*sources) as read:
            await wait_until(lambda: kraken.is_subscribed("EUR/USD"), "Kraken is subscribed to")
            await kraken.quote("EUR/USD", "1.0841", "1.0842")
            await wait_until(lambda: bool(read.quotes), "Kraken's price passes")
            await kraken.go_down()
            assert [quote.source for quote in read.quotes] == ["kraken"]
            await read.pass_time(3.1)
            await wait_until(lambda: len(read.quotes) > 5, "invented prices stand in")
            assert (read.preferred.name, read.preferred.simulated) == ("simulated", True)
            await kraken.come_up()
            await wait_until(lambda: kraken.is_subscribed("EUR/USD"), "Kraken is subscribed to")
            await kraken.quote("EUR/USD", "1.0843", "1.0844", time=None)
            await wait_until(lambda: read.quotes[-1].bid == Decimal("1.0843"), "Kraken takes over again")
            assert (read.preferred.name, read.preferred.simulated) == ("kraken", False)
    assert [switch.source for switch in read.switches] == ["kraken", "simulated", "kraken"]

import time

import pytest

from app.errors import SourceError
from app.market.clock import utc_now
from app.market.pair import DEFAULT_PAIRS, TrackedPairs
from app.market.quote import Quote
from app.market.source import PriceSource
from app.providers.simulated.source import SimulatedSource
from tests.providers.turns import counted_turns

_PAIRS = TrackedPairs(DEFAULT_PAIRS)


async def _take(source: SimulatedSource, count: int) -> list[Quote]:
    taken = []
    async for quote in source.quotes():
        taken.append(quote)
        if len(taken) == count:
            break
    return taken


def test_is_a_source_of_invented_prices() -> None:
    source: PriceSource = SimulatedSource(_PAIRS)
    assert (source.name, source.simulated) == ("simulated", True)


async def test_the_same_seed_gives_the_same_pairs_and_prices() -> None:
    source = SimulatedSource(_PAIRS, 5, 20_000)
    runs = [await _take(source, 600), await _take(source, 600), await _take(SimulatedSource(_PAIRS, 5, 20_000), 600)]
    prices = [[(quote.pair, quote.bid, quote.ask) for quote in run] for run in runs]
    assert prices[0] == prices[1] == prices[2]
    other = await _take(SimulatedSource(_PAIRS, 6, 20_000), 600)
    assert [(quote.pair, quote.bid, quote.ask) for quote in other] != prices[0]


async def test_times_are_those_of_the_clock() -> None:
    last, seen = utc_now(), 0
    async for quote in SimulatedSource(_PAIRS, rate=1000).quotes():
        assert last <= quote.time <= utc_now()
        assert quote.source == "simulated"
        last, seen = quote.time, seen + 1
        if seen == 200:
            break


async def test_thousands_a_second_hold_their_pace() -> None:
    start = time.monotonic()
    quotes = await _take(SimulatedSource(_PAIRS, rate=10_000), 4000)
    lasted = time.monotonic() - start
    assert len(quotes) == 4000
    assert lasted > 0.35


async def test_the_event_loop_goes_on_when_the_rate_cannot_be_held() -> None:
    async with counted_turns() as turns:
        quotes = await _take(SimulatedSource(_PAIRS, rate=1e9), 10_000)
    assert turns() >= len(quotes) / 500


async def test_a_walk_that_was_held_up_does_not_make_up_for_it() -> None:
    quotes = SimulatedSource(_PAIRS, rate=10_000).quotes()
    await anext(quotes)
    time.sleep(1.5)  # noqa: ASYNC251 - this is what holds it up
    start = time.monotonic()
    for _ in range(15_000):
        await anext(quotes)
    lasted = time.monotonic() - start
    await quotes.aclose()
    assert lasted > 0.4


def test_a_currency_that_is_not_listed_is_refused() -> None:
    with pytest.raises(SourceError, match="XAU"):
        SimulatedSource(TrackedPairs(["XAU_USD"]))

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.pair import CurrencyPair
from app.market.quote import Quote, QuoteKind
from app.market.spike import SpikeFilter
from app.providers.replay.recording import Recording

_NOON = datetime(2026, 1, 30, 12, tzinfo=UTC)
_NUMBERS = count()


def _quote(mid: str, pair: str = "EUR_USD", kind: QuoteKind = QuoteKind.QUOTED) -> Quote:
    price = Decimal(mid)
    half = price / 20_000
    return Quote(CurrencyPair.parse(pair), price - half, price + half, _NOON + timedelta(seconds=next(_NUMBERS)), "test", kind)


def _calm(filter: SpikeFilter, around: str = "1.17000", quotes: int = 50, pair: str = "EUR_USD") -> None:
    """Let a calm market pass that moves by half a pip at a time."""
    for number in range(quotes):
        quote = _quote(str(Decimal(around) * (1 + number % 2 * Decimal("0.00005"))), pair)
        assert filter.take(quote) == (quote,)


def _passed(filter: SpikeFilter, quotes: Iterable[Quote]) -> list[Quote]:
    return [passed for quote in quotes for passed in filter.take(quote)]


@pytest.mark.parametrize("spike", ["11.7", "0.117", "117", "1.47", "0.87", "0.00001"])
@pytest.mark.parametrize("quotes", [1, 50])
def test_a_quote_far_from_the_others_is_dropped(spike: str, quotes: int) -> None:
    filter = SpikeFilter()
    _calm(filter, quotes=quotes)
    assert filter.take(_quote(spike)) == ()
    assert filter.dropped == 0
    following = _quote("1.17003")
    assert filter.take(following) == (following,)
    assert filter.dropped == 1


def test_the_calmer_the_market_the_nearer_is_far() -> None:
    filter = SpikeFilter()
    first = _quote("1.17000")
    assert _passed(filter, [first, _quote("1.16000"), _quote("1.17000")])[0] == first
    assert filter.dropped == 0  # of a few quotes it is not known that this is far
    _calm(filter)
    assert _passed(filter, [_quote("1.16000")]) == []


@pytest.mark.parametrize("confirmed", [("1.07", "1.0701"), ("1.07", "1.06"), ("1.27", "1.26"), ("1.27", "1.30")])
def test_a_second_quote_confirms_a_jump_and_both_pass(confirmed: tuple[str, str]) -> None:
    filter = SpikeFilter()
    _calm(filter)
    first, second = map(_quote, confirmed)
    assert filter.take(first) == ()
    assert filter.take(second) == (first, second)
    assert filter.dropped == 0


def test_a_spike_in_a_jump_is_dropped() -> None:
    filter = SpikeFilter()
    _calm(filter)
    quotes = [_quote(mid) for mid in ("11.7", "1.10", "1.1001")]
    assert _passed(filter, quotes) == quotes[1:]
    assert filter.dropped == 1


def test_the_franc_of_15_january_2015_passes() -> None:
    mids = ["1.20095", "1.20090", "1.185", "1.15", "1.09", "1.02", "0.97", "0.90", "0.8517", "0.88", "0.98", "1.03", "1.01"]
    filter = SpikeFilter()
    _calm(filter, "1.20095", pair="EUR_CHF")
    quotes = [_quote(mid, "EUR_CHF") for mid in mids]
    assert _passed(filter, quotes) == quotes
    assert filter.dropped == 0


def test_the_franc_at_once_passes() -> None:
    filter = SpikeFilter()
    _calm(filter, "1.20095")
    quotes = [_quote(mid) for mid in ("1.20090", "0.85170", "0.86000", "0.85000")]
    assert _passed(filter, quotes) == quotes


def test_daily_rates_pass() -> None:
    filter = SpikeFilter()
    _calm(filter)
    rate = _quote("1.30", kind=QuoteKind.DAILY)
    assert filter.take(rate) == (rate,)


def test_zero_switches_it_off() -> None:
    filter = SpikeFilter(0)
    quotes = [_quote(mid) for mid in ("1.17", "11.7", "1.17")]
    assert _passed(filter, quotes) == quotes


def test_pairs_are_judged_by_themselves() -> None:
    filter = SpikeFilter()
    _calm(filter)
    yen = [_quote("155.12", "USD_JPY"), _quote("155.13", "USD_JPY")]
    assert _passed(filter, yen) == yen
    assert filter.take(_quote("11.7")) == ()
    assert filter.take(yen[1]) == (yen[1],)


@given(st.lists(st.sampled_from(["1.17", "1.1701", "11.7", "1.30", "0.5"]), max_size=60), st.sampled_from([0, 1, 50]))
def test_quotes_pass_once_and_in_order_and_the_rest_is_counted(mids: Sequence[str], multiple: float) -> None:
    filter = SpikeFilter(multiple)
    quotes = [_quote(mid) for mid in mids]
    passed = _passed(filter, quotes)
    assert [quote.time for quote in passed] == sorted({quote.time for quote in passed})
    assert len(passed) + filter.dropped in (len(quotes), len(quotes) - 1)  # one may be held
    assert set(passed) <= set(quotes)


_RECORDED = (
    *(f"oanda/tick/{pair}/2014050{day}_quote.zip" for pair in ("eurusd", "nzdusd") for day in (4, 5, 6)),
    "truefx/usdjpy-ticks.csv",
    "oanda/minute/eurusd/20140505_quote.zip",
    "oanda/hour/eurusd.zip",
    "oanda/hour/nzdusd.zip",
)


@pytest.mark.parametrize("name", _RECORDED)
def test_real_prices_pass_one_and_all(fx_data: Path, name: str) -> None:
    filter = SpikeFilter()
    rows = passed = 0
    for row in Recording(fx_data / name).rows():
        rows += 1
        passed += len(filter.take(Quote(row.pair, row.bid, row.ask, row.time, "replay")))
    assert rows == passed > 0
    assert filter.dropped == 0

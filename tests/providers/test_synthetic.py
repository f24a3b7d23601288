from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.pair import CurrencyPair, TrackedPairs
from app.market.quote import Quote, QuoteKind
from app.providers.synthetic import Cross, CrossRates, find_cross

_NOON = datetime(2026, 1, 30, 12, tzinfo=UTC)
_QUOTED = set(TrackedPairs(["EUR_USD", "GBP_USD", "AUD_USD", "USD_JPY", "USD_CHF", "USD_CAD", "EUR_GBP", "EUR_NOK", "EUR_SEK"]))


def _pair(name: str) -> CurrencyPair:
    return CurrencyPair.parse(name)


def _cross(name: str) -> Cross:
    cross = find_cross(_pair(name), _QUOTED)
    assert cross is not None
    return cross


def _quote(name: str, bid: str, ask: str, seconds: float = 0) -> Quote:
    return Quote(_pair(name), Decimal(bid), Decimal(ask), _NOON + timedelta(seconds=seconds), "kraken")


@pytest.mark.parametrize(
    ("name", "multiplied", "divided"),
    [
        ("GBP_JPY", ["GBP_USD", "USD_JPY"], []),
        ("GBP_AUD", ["GBP_USD"], ["AUD_USD"]),
        ("CHF_JPY", ["USD_JPY"], ["USD_CHF"]),
        ("CAD_GBP", [], ["USD_CAD", "GBP_USD"]),
        ("NOK_SEK", ["EUR_SEK"], ["EUR_NOK"]),
    ],
)
def test_a_cross_is_made_of_two_pairs_with_a_currency_in_common(name: str, multiplied: list[str], divided: list[str]) -> None:
    cross = _cross(name)
    assert [pair.name for pair in cross.multiplied] == multiplied
    assert [pair.name for pair in cross.divided] == divided


@pytest.mark.parametrize("name", ["NZD_USD", "AUD_NZD", "USD_CNH", "USD_HKD", "NOK_JPY", "USD_EUR"])
def test_a_pair_without_two_legs_is_no_cross(name: str) -> None:
    assert find_cross(_pair(name), _QUOTED) is None


def test_bid_and_ask_are_what_dealing_in_both_legs_comes_to() -> None:
    crosses = CrossRates([_cross("GBP_JPY"), _cross("GBP_AUD")])
    assert crosses.take(_quote("USD_JPY", "155.12", "155.2")) == []
    [product] = crosses.take(_quote("GBP_USD", "1.3001", "1.3002"))
    # 1.3001 * 155.12 = 201.671512 and 1.3002 * 155.2 = 201.79104, rounded away from each other
    assert (product.bid, product.ask) == (Decimal("201.671"), Decimal("201.792"))
    [quotient] = crosses.take(_quote("AUD_USD", "0.65", "0.6502"))
    # 1.3001 / 0.6502 = 1.999538… and 1.3002 / 0.65 = 2.000307…
    assert (quotient.bid, quotient.ask) == (Decimal("1.99953"), Decimal("2.00031"))
    assert {product.kind, quotient.kind} == {QuoteKind.SYNTHETIC}
    assert product.source == "kraken"


def test_every_quote_of_a_leg_gives_one_of_each_cross_of_it() -> None:
    crosses = CrossRates([_cross("GBP_JPY"), _cross("GBP_CHF"), _cross("CHF_JPY")])
    crosses.take(_quote("GBP_USD", "1.3", "1.3"))
    crosses.take(_quote("USD_CHF", "0.8", "0.8"))
    names = [quote.pair.name for quote in crosses.take(_quote("USD_JPY", "150", "150"))]
    assert names == ["GBP_JPY", "CHF_JPY"]
    assert crosses.take(_quote("EUR_USD", "1.1", "1.1")) == []


def test_the_time_is_that_of_the_later_leg_and_does_not_go_back() -> None:
    crosses = CrossRates([_cross("GBP_JPY")])
    crosses.take(_quote("GBP_USD", "1.3", "1.3", seconds=10))
    times = [
        quote.time - _NOON
        for seconds, name in [(4, "USD_JPY"), (7, "USD_JPY"), (11, "GBP_USD"), (12, "USD_JPY")]
        for quote in crosses.take(_quote(name, "1.3", "1.3", seconds))
    ]
    assert times == [timedelta(seconds=seconds) for seconds in (10, 10, 11, 12)]


def test_legs_that_are_too_far_apart_make_no_cross() -> None:
    crosses = CrossRates([_cross("GBP_JPY")], most_apart=timedelta(seconds=60))
    crosses.take(_quote("GBP_USD", "1.3", "1.3"))
    assert crosses.take(_quote("USD_JPY", "150", "150", seconds=60.1)) == []
    assert crosses.take(_quote("GBP_USD", "1.3", "1.3", seconds=0.1)) != []
    assert crosses.take(_quote("USD_JPY", "150", "150", seconds=61)) == []


_points = st.integers(1, 10**7)


@given(st.sampled_from(["GBP_JPY", "GBP_AUD", "CHF_JPY", "CAD_GBP"]), _points, _points, st.integers(0, 500), st.integers(0, 500))
def test_a_cross_is_the_tightest_at_its_precision_that_is_no_better_than_its_legs(
    name: str, first: int, second: int, spread: int, other_spread: int
) -> None:
    cross = _cross(name)
    crosses = CrossRates([cross])
    taken = []
    for leg, points, width in zip(cross.legs, (first, second), (spread, other_spread), strict=True):
        bid, ask = Decimal(points).scaleb(-5), Decimal(points + width).scaleb(-5)
        taken = crosses.take(Quote(leg, bid, ask, _NOON, "kraken"))
    [quote] = taken
    low, high = Fraction(1), Fraction(1)
    for leg, points, width in zip(cross.legs, (first, second), (spread, other_spread), strict=True):
        bid_of_leg, ask_of_leg = Fraction(points, 10**5), Fraction(points + width, 10**5)
        low = low * bid_of_leg if leg in cross.multiplied else low / ask_of_leg
        high = high * ask_of_leg if leg in cross.multiplied else high / bid_of_leg
    point = Fraction(1, 10**cross.pair.precision)
    assert 0 <= low - Fraction(quote.bid) < point
    assert 0 <= Fraction(quote.ask) - high < point
    assert quote.bid <= quote.ask

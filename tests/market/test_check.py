from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from app.market.check import QuoteCheck
from app.market.clock import utc_now
from app.market.pair import CurrencyPair, TrackedPairs
from app.market.quote import Quote

_MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture
def check() -> QuoteCheck:
    return QuoteCheck(TrackedPairs(["EUR_USD", "USD_JPY"]))


def _quote(bid: str = "1.08740", ask: str = "1.08748", time: datetime | None = None, pair: str = "EUR_USD") -> Quote:
    return Quote(CurrencyPair.parse(pair), Decimal(bid), Decimal(ask), time or utc_now(), "test")


@pytest.mark.parametrize(("bid", "ask"), [("1.08740", "1.08748"), ("1.08740", "1.08740"), ("0.00001", "0.00002")])
def test_sound_quotes_pass(check: QuoteCheck, bid: str, ask: str) -> None:
    quote = _quote(bid, ask)
    assert check.admit(quote) is quote
    assert not check.dropped


@pytest.mark.parametrize(
    ("bid", "ask", "reason"),
    [
        ("1.08748", "1.08740", "crossed"),
        ("0", "1.08740", "no positive price"),
        ("1.08740", "0", "no positive price"),
        ("-1.08740", "1.08748", "no positive price"),
        ("-2", "-1", "no positive price"),
        ("NaN", "1.08748", "no positive price"),
        ("1.08740", "Infinity", "no positive price"),
    ],
)
def test_unsound_prices_are_dropped(check: QuoteCheck, bid: str, ask: str, reason: str) -> None:
    assert not check.admit(_quote(bid, ask))
    assert check.dropped == {reason: 1}


def test_pairs_that_are_not_tracked_are_dropped(check: QuoteCheck) -> None:
    assert not check.admit(_quote(pair="GBP_USD"))
    assert check.dropped == {"untracked pair": 1}


def test_time_goes_back_for_no_pair(check: QuoteCheck) -> None:
    now = utc_now()
    assert check.admit(_quote(time=now))
    assert not check.admit(_quote(time=now - _MILLISECOND))
    assert check.admit(_quote(time=now))
    assert check.admit(_quote("151.234", "151.240", now - _MILLISECOND, "USD_JPY"))
    assert check.dropped == {"out of order": 1}


def test_a_dropped_quote_sets_no_time(check: QuoteCheck) -> None:
    now = utc_now()
    assert not check.admit(_quote("2", "1", now))
    assert check.admit(_quote(time=now - _MILLISECOND))


def test_a_clock_that_is_a_little_ahead_is_put_right_and_shuts_out_nothing_that_follows(check: QuoteCheck) -> None:
    quote = check.admit(_quote(time=utc_now() + timedelta(seconds=30)))
    assert quote is not None
    assert quote.time <= utc_now()
    following = check.admit(_quote(time=utc_now()))
    assert following is not None
    assert following.time >= quote.time
    assert not check.dropped


def test_a_quote_from_the_future_is_dropped_and_shuts_out_nothing_that_follows(check: QuoteCheck) -> None:
    assert check.admit(_quote(time=utc_now() + timedelta(days=1000))) is None
    assert check.admit(_quote(time=utc_now())) is not None
    assert check.dropped == {"from the future": 1}


def test_counts_by_reason(check: QuoteCheck) -> None:
    for quote in (_quote("2", "1"), _quote("2", "1"), _quote("0", "1"), _quote()):
        check.admit(quote)
    assert check.dropped == {"crossed": 2, "no positive price": 1}

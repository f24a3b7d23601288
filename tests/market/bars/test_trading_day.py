from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.bars.trading_day import DayFigures, TradingDay
from app.market.clock import parse_time
from app.market.pair import CurrencyPair

_TUESDAY = parse_time("2026-01-12T22:00:00Z")


def _bar(pair: str, start: datetime, *mids: str) -> Candle:
    mid = Ohlc(*map(Decimal, mids))
    return Candle(CurrencyPair.parse(pair), Granularity.D, start, mid, mid, mid, 10, complete=False, source="oanda")


@pytest.fixture
def day() -> TradingDay:
    """The Tuesday of EUR_USD, which closed at 1.08000 the day before."""
    before = _bar("EUR_USD", _TUESDAY - timedelta(days=1), "1.07", "1.09", "1.06", "1.08000")
    return TradingDay.of(_bar("EUR_USD", _TUESDAY, "1.08010", "1.08500", "1.07900", "1.08200"), before)


def test_a_price_stands_against_the_close_of_the_day_before(day: TradingDay) -> None:
    figures = day.figures(Decimal("1.08270"), _TUESDAY + timedelta(hours=3))
    assert figures == DayFigures(
        prev_close=Decimal("1.08000"),
        prev_close_day=date(2026, 1, 12),
        change=Decimal("0.00270"),
        change_pct=0.25,
        change_pips=27.0,
        day_open=Decimal("1.08010"),
        day_high=Decimal("1.08500"),
        day_low=Decimal("1.07900"),
    )


def test_a_pip_of_a_yen_pair_is_a_hundredth() -> None:
    before = _bar("USD_JPY", _TUESDAY - timedelta(days=1), "150", "151", "149", "150.000")
    day = TradingDay.of(_bar("USD_JPY", _TUESDAY, "150", "151", "149", "150.5"), before)
    figures = day.figures(Decimal("148.505"), _TUESDAY)
    assert (figures.change_pips, figures.change_pct) == (-149.5, -0.9967)


def test_a_mid_between_two_prices_changes_by_half_a_point() -> None:
    before = _bar("EUR_USD", _TUESDAY - timedelta(days=1), "1", "1", "1", "1.080005")
    day = TradingDay.of(_bar("EUR_USD", _TUESDAY, "1", "1", "1", "1"), before)
    figures = day.figures(Decimal("1.08201"), _TUESDAY)
    assert (figures.change, figures.change_pct, figures.change_pips) == (Decimal("0.002005"), 0.1856, 20.05)


def test_a_price_beyond_the_bar_is_the_new_high_or_low(day: TradingDay) -> None:
    assert day.figures(Decimal("1.09"), _TUESDAY).day_high == Decimal("1.09")
    assert day.figures(Decimal("1.07"), _TUESDAY).day_low == Decimal("1.07")


def test_after_the_close_the_day_itself_is_what_a_price_stands_against(day: TradingDay) -> None:
    close = parse_time("2026-01-13T22:00:00Z")
    assert day.figures(Decimal("1.08200"), close - timedelta(microseconds=1)).prev_close == Decimal("1.08000")
    figures = day.figures(Decimal("1.08300"), close)
    assert (figures.prev_close, figures.change_pips, figures.day_open) == (Decimal("1.08200"), 10.0, None)
    assert figures.prev_close_day == date(2026, 1, 13)


def test_without_a_day_before_there_is_no_change() -> None:
    day = TradingDay.of(_bar("EUR_USD", _TUESDAY, "1.08010", "1.08500", "1.07900", "1.08200"), None)
    figures = day.figures(Decimal("1.08270"), _TUESDAY)
    assert (figures.prev_close, figures.change, figures.change_pct, figures.change_pips) == (None, None, None, None)
    assert figures.day_open == Decimal("1.08010")


@pytest.mark.parametrize(
    ("newest", "before", "closed"),
    [
        # The start of a trading day is 17:00 in New York on the day before.
        ("2026-01-12T22:00:00Z", "2026-01-11T22:00:00Z", date(2026, 1, 12)),
        ("2026-01-11T22:00:00Z", "2026-01-08T22:00:00Z", date(2026, 1, 9)),  # over a weekend
        ("2026-01-11T22:00:00Z", "2026-01-10T22:00:00Z", date(2026, 1, 11)),  # from a source that never closes
        ("2026-01-09T22:00:00Z", "2026-01-08T22:00:00Z", date(2026, 1, 9)),  # the same, on Saturday
        ("2025-12-25T22:00:00Z", "2025-12-23T22:00:00Z", date(2025, 12, 24)),  # over Christmas
        ("2026-07-13T21:00:00Z", "2026-07-12T21:00:00Z", date(2026, 7, 13)),  # in summer
        ("2026-01-12T22:00:00Z", "2026-01-08T22:00:00Z", None),  # Monday is missing
        ("2026-01-12T22:00:00Z", "2018-02-06T22:00:00Z", None),  # history that ended years ago
    ],
)
def test_only_the_close_of_the_trading_day_before_is_a_previous_close(newest: str, before: str, closed: date | None) -> None:
    bar, earlier = (
        _bar("EUR_USD", parse_time(start), "1.1", "1.1", "1.1", close) for start, close in ((newest, "1.2"), (before, "1.1"))
    )
    within = TradingDay.of(bar, earlier).figures(Decimal("1.2"), bar.time)
    assert (within.prev_close_day, within.change) == ((closed, Decimal("0.1")) if closed else (None, None))
    assert within.day_open == Decimal("1.1")
    after = TradingDay.of(earlier, None).figures(Decimal("1.2"), bar.time)
    assert (after.prev_close_day, after.change) == ((closed, Decimal("0.1")) if closed else (None, None))

"""A price within its trading day: against the previous close, and between the day's high and low."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.hours.calendar import NEW_YORK, previous_business_day
from app.market.pair import CurrencyPair


@dataclass(frozen=True, slots=True)
class DayFigures:
    """The change since the previous close, and the open, high and low of the day; None where unknown.

    Prices are mids. ``prev_close_day`` is the trading day that closed at ``prev_close``. ``change_pct`` is in percent,
    ``change_pips`` in pips.
    """

    prev_close: Decimal | None = None
    prev_close_day: date | None = None
    change: Decimal | None = None
    change_pct: float | None = None
    change_pips: float | None = None
    day_open: Decimal | None = None
    day_high: Decimal | None = None
    day_low: Decimal | None = None


UNKNOWN = DayFigures()
"""The figures of a pair without history."""


@dataclass(frozen=True, slots=True)
class TradingDay:
    """The newest daily bar of a pair, finished or not, and the close of the trading day before it.

    Days close at 17:00 in New York, so the change is that of the day, not of the last 24 hours. ``previous_close`` is None where
    the close of the day before, ``previous_day``, is not known: an older close says nothing about the change of a day.
    """

    pair: CurrencyPair
    ends: datetime
    mid: Ohlc
    previous_close: Decimal | None = None
    previous_day: date | None = None

    @classmethod
    def of(cls, bar: Candle, before: Candle | None) -> "TradingDay":
        """Return the trading day of a daily bar, given the daily bar before it."""
        if before is None or not _follows(_date(bar.end), _date(before.end)):
            return cls(bar.pair, bar.end, bar.mid)
        return cls(bar.pair, bar.end, bar.mid, before.mid.close, _date(before.end))

    def figures(self, mid: Decimal, time: datetime) -> DayFigures:
        """Return the figures for a mid at an aware time.

        On the trading day after this one, the mid is compared with this day's close. Later, nothing is known.
        """
        if time >= self.ends:
            day = _date(self.ends)
            if not _follows(_date(Granularity.D.end(time)), day):
                return UNKNOWN
            return self._against(self.mid.close, day, mid, UNKNOWN)
        high, low = max(self.mid.high, mid), min(self.mid.low, mid)
        return self._against(
            self.previous_close, self.previous_day, mid, DayFigures(day_open=self.mid.open, day_high=high, day_low=low)
        )

    def _against(self, close: Decimal | None, closed: date | None, mid: Decimal, day: DayFigures) -> DayFigures:
        """Return the figures of the day with the change since the close of the day ``closed`` added."""
        if close is None:
            return day
        change = mid - close
        return DayFigures(
            close,
            closed,
            change,
            round(float(100 * change / close), 4),
            round(float(change / self.pair.pip), 2),
            day.day_open,
            day.day_high,
            day.day_low,
        )


def _follows(day: date, earlier: date) -> bool:
    """Return True if no trading day lies between two dates, which need not be trading days: some sources never close."""
    return earlier < day and earlier >= previous_business_day(day)


def _date(end: datetime) -> date:
    """Return the date of a trading day that ends at this time."""
    return end.astimezone(NEW_YORK).date()

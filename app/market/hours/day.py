"""A price within its trading day: against the previous close, and between the day's high and low."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.market.bars.candle import Candle, Ohlc
from app.market.pair import CurrencyPair


@dataclass(frozen=True, slots=True)
class DayFigures:
    """The change since the previous close, and the open, high and low of the day; None where unknown.

    Prices are mids. ``change_pct`` is in percent, ``change_pips`` in pips.
    """

    prev_close: Decimal | None = None
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
    """The newest daily bar of a pair, finished or not, and the close of the one before it.

    Days close at 17:00 in New York, so the change is that of the day, not of the last 24 hours.
    """

    pair: CurrencyPair
    ends: datetime
    mid: Ohlc
    previous_close: Decimal | None

    @classmethod
    def of(cls, bar: Candle, before: Candle | None) -> "TradingDay":
        """Return the trading day of a daily bar, given the daily bar before it."""
        return cls(bar.pair, bar.end, bar.mid, None if before is None else before.mid.close)

    def figures(self, mid: Decimal, time: datetime) -> DayFigures:
        """Return the figures for a mid at an aware time. After the end of this day, the mid is compared with this day's close."""
        if time >= self.ends:
            return self._against(self.mid.close, mid, DayFigures())
        high, low = max(self.mid.high, mid), min(self.mid.low, mid)
        return self._against(self.previous_close, mid, DayFigures(day_open=self.mid.open, day_high=high, day_low=low))

    def _against(self, close: Decimal | None, mid: Decimal, day: DayFigures) -> DayFigures:
        """Return the figures of the day with the change since a close added."""
        if close is None:
            return day
        change = mid - close
        return DayFigures(
            close,
            change,
            round(float(100 * change / close), 4),
            round(float(change / self.pair.pip), 2),
            day.day_open,
            day.day_high,
            day.day_low,
        )

"""OANDA's hour files and the figures derived from them, computed independently of the tested code: with the csv module, floats
one by one, the standard library's statistics, and TA-Lib."""

import csv
import io
import math
import statistics
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import talib

_NEW_YORK = ZoneInfo("America/New_York")
_HOUR = timedelta(hours=1)
_HOURS_A_YEAR = 52 * 5 * 24

Prices = tuple[Decimal, Decimal, Decimal, Decimal]
"""Open, high, low and close."""


@dataclass(frozen=True)
class ReckonedBar:
    """A bar from ``time``, in UTC. The mids lie halfway between the bids and the asks of the hours it is made of."""

    time: datetime
    bid: Prices
    mid: Prices
    ask: Prices

    def texts(self, side: str) -> dict[str, str]:
        """The prices of a side as REST writes them: five decimals of a pair in dollars, six where a mid needs them."""
        prices: Prices = getattr(self, side)
        return dict(zip("ohlc", (f"{price:.5f}" if price * 10**5 % 1 == 0 else f"{price:.6f}" for price in prices), strict=True))


def read_hours(file: Path) -> list[ReckonedBar]:
    """Every row of a file of hours."""
    with zipfile.ZipFile(file) as archive:
        [name] = archive.namelist()
        rows = csv.reader(io.StringIO(archive.read(name).decode()))
        return [_hour(row) for row in rows]


def _hour(row: Sequence[str]) -> ReckonedBar:
    bid, ask = ([Decimal(text) for text in row[first : first + 4]] for first in (1, 6))
    mid = [(below + above) / 2 for below, above in zip(bid, ask, strict=True)]
    time = datetime.strptime(row[0] + "+0000", "%Y%m%d %H:%M%z").astimezone(UTC)
    return ReckonedBar(time, (bid[0], bid[1], bid[2], bid[3]), (mid[0], mid[1], mid[2], mid[3]), (ask[0], ask[1], ask[2], ask[3]))


def ended_by(hours: Sequence[ReckonedBar], moment: datetime, count: int) -> list[ReckonedBar]:
    """The last ``count`` hours that had ended by the moment."""
    return [hour for hour in hours if hour.time + _HOUR <= moment][-count:]


# ---------------------------------------------------------------- days and weeks


def days(hours: Sequence[ReckonedBar]) -> list[tuple[date, ReckonedBar]]:
    """Trading days by the dates on which they end in New York, at 17:00."""
    grouped = groupby(hours, key=lambda hour: _trading_date(hour.time))
    return [(day, _whole(_turn(day - timedelta(days=1)), list(of_day))) for day, of_day in grouped]


def weeks(hours: Sequence[ReckonedBar]) -> list[ReckonedBar]:
    """Weeks from Friday 17:00 in New York: trading dates from Saturday on, which calendar weeks shifted by two days are."""
    grouped = groupby(hours, key=lambda hour: (_trading_date(hour.time) + timedelta(days=2)).isocalendar()[:2])
    return [
        _whole(_turn(date.fromisocalendar(year, week, 1) - timedelta(days=3)), list(of_week)) for (year, week), of_week in grouped
    ]


def _trading_date(time: datetime) -> date:
    local = time.astimezone(_NEW_YORK)
    return local.date() + timedelta(days=1) if local.hour >= 17 else local.date()


def _turn(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 17, tzinfo=_NEW_YORK).astimezone(UTC)


def _whole(start: datetime, hours: Sequence[ReckonedBar]) -> ReckonedBar:
    bid, mid, ask = (_joined([getattr(hour, side) for hour in hours]) for side in ("bid", "mid", "ask"))
    return ReckonedBar(start, bid, mid, ask)


def _joined(prices: Sequence[Prices]) -> Prices:
    return prices[0][0], max(high for _, high, _, _ in prices), min(low for _, _, low, _ in prices), prices[-1][3]


# ---------------------------------------------------------------- figures


def figures(hours: Sequence[ReckonedBar]) -> dict[str, float]:
    """The measures of these hours, named as REST names them."""
    open_, high, low, close = ([float(hour.mid[place]) for hour in hours] for place in range(4))
    returns = [math.log(after / before) for before, after in pairwise(close)]
    year = math.sqrt(_HOURS_A_YEAR)
    upper, middle, lower = (float(band[-1]) for band in talib.BBANDS(np.array(close), 20, 2, 2))
    return {
        "volatility_20": year * statistics.stdev(returns[-20:]),
        "volatility_50": year * statistics.stdev(returns[-50:]),
        "ewma": year * math.sqrt(_exponential([value**2 for value in returns])),
        "parkinson": year * _parkinson(high[-20:], low[-20:]),
        "garman_klass": year * _garman_klass(open_[-20:], high[-20:], low[-20:], close[-20:]),
        "yang_zhang": year * _yang_zhang(open_[-21:], high[-21:], low[-21:], close[-21:]),
        "rogers_satchell": year * _rogers_satchell(open_[-20:], high[-20:], low[-20:], close[-20:]),
        "realized": year * math.sqrt(statistics.fmean(value**2 for value in returns[-20:])),
        "sma_15": float(talib.SMA(np.array(close), 15)[-1]),
        "sma_30": float(talib.SMA(np.array(close), 30)[-1]),
        "sma_50": float(talib.SMA(np.array(close), 50)[-1]),
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
        "atr": float(talib.ATR(np.array(high), np.array(low), np.array(close), 14)[-1]),
    }


def _exponential(squares: Sequence[float]) -> float:
    """RiskMetrics' mean, in which each value weighs 0.94 of the next, and those before the 21st as much as their mean."""
    later = squares[20:]
    weights = [0.06 * 0.94 ** (len(later) - 1 - n) for n in range(len(later))]
    return statistics.fmean(squares[:20]) * 0.94 ** len(later) + math.fsum(w * v for w, v in zip(weights, later, strict=True))


def _parkinson(high: Sequence[float], low: Sequence[float]) -> float:
    squares = [(math.log(top) - math.log(bottom)) ** 2 for top, bottom in zip(high, low, strict=True)]
    return math.sqrt(math.fsum(squares) / len(squares) / (4 * math.log(2)))


def _garman_klass(open_: Sequence[float], high: Sequence[float], low: Sequence[float], close: Sequence[float]) -> float:
    terms = [
        0.5 * (math.log(top) - math.log(bottom)) ** 2 - (2 * math.log(2) - 1) * (math.log(last) - math.log(first)) ** 2
        for first, top, bottom, last in zip(open_, high, low, close, strict=True)
    ]
    return math.sqrt(math.fsum(terms) / len(terms))


def _rogers_satchell(open_: Sequence[float], high: Sequence[float], low: Sequence[float], close: Sequence[float]) -> float:
    drifts = []
    for first, top, bottom, last in zip(open_, high, low, close, strict=True):
        up, down, body = math.log(top / first), math.log(bottom / first), math.log(last / first)
        drifts.append(up * (up - body) + down * (down - body))
    return math.sqrt(math.fsum(drifts) / len(drifts))


def _yang_zhang(open_: Sequence[float], high: Sequence[float], low: Sequence[float], close: Sequence[float]) -> float:
    count = len(close) - 1
    gaps = [math.log(open_[n] / close[n - 1]) for n in range(1, count + 1)]
    bodies = [math.log(close[n] / open_[n]) for n in range(1, count + 1)]
    drifts = []
    for n in range(1, count + 1):
        up, down, body = math.log(high[n] / open_[n]), math.log(low[n] / open_[n]), math.log(close[n] / open_[n])
        drifts.append(up * (up - body) + down * (down - body))
    k = 0.34 / (1.34 + (count + 1) / (count - 1))
    return math.sqrt(statistics.variance(gaps) + k * statistics.variance(bodies) + (1 - k) * math.fsum(drifts) / count)


def correlation(first: Sequence[ReckonedBar], second: Sequence[ReckonedBar]) -> tuple[float, int]:
    """Pearson's correlation of the returns from each hour that both have to the next, and the number of returns."""
    of_second = {hour.time: float(hour.mid[3]) for hour in second}
    closes = [(float(hour.mid[3]), of_second[hour.time]) for hour in first if hour.time in of_second]
    x, y = ([math.log(after[side] / before[side]) for before, after in pairwise(closes)] for side in (0, 1))
    return statistics.correlation(x, y), len(x)

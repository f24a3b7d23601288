"""Daily, weekly and monthly rows: which trading day, week or month a timestamp stands for."""

from typing import NamedTuple

import numpy as np

from app.market.bars.candle import Granularity
from app.market.blocks.starts import TradingDays
from app.providers.bar_files.bars.frame import Frame
from app.providers.bar_files.text.rows import Flags, Ints
from app.providers.bar_files.values.moments import DAY, HOUR

_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6
_NEAR = 2 * HOUR


class Placed(NamedTuple):
    """The starts of the bars, which rows are not in any trading day, and how timestamps were interpreted."""

    times: Ints
    closed: Flags
    how: str


def placed(frame: Frame, granularity: Granularity) -> Placed:
    """Find the bars that daily, weekly or monthly rows stand for.

    Days may be stamped with a date, with 17:00 in New York (or nearly) at which the trading day begins or ends, or with a time
    within it. A date is that of the trading day, which ends on it, but for files without Fridays, whose dates are those on which
    days begin. A Sunday beside a Friday is the beginning of Monday's trading day.
    """
    if not len(frame):
        return Placed(frame.time, np.zeros(0, bool), "")
    if (frame.local % DAY == 0).all():
        return _by_date(frame, granularity)
    days = TradingDays(frame.time)
    turn = days.of(frame.time + _NEAR)
    near = np.abs(frame.time - days.begins(turn)) <= _NEAR
    if not near.all() or granularity is not Granularity.D:
        return Placed(
            days.starts(frame.time, granularity),
            days.in_weekend(days.of(frame.time)) & (granularity is Granularity.D),
            f"each row is the {_WORDS[granularity]} that its time lies in",
        )
    weekdays = _weekday(turn - 1)  # of the date in New York
    if (weekdays == _FRIDAY).any() and not (weekdays == _SUNDAY).any():
        day = turn - 1
        return Placed(days.begins(day), days.in_weekend(day), "times are those at which trading days end, 17:00 in New York")
    return Placed(days.begins(turn), days.in_weekend(turn), "times are those at which trading days begin, 17:00 in New York")


_WORDS = {Granularity.D: "trading day", Granularity.W: "week", Granularity.M: "month"}


def _by_date(frame: Frame, granularity: Granularity) -> Placed:
    date = frame.local // DAY
    days = TradingDays(frame.local)
    if granularity is not Granularity.D:
        return Placed(
            days.starts(days.begins(date), granularity),
            np.zeros(len(frame), bool),
            f"each row is the {_WORDS[granularity]} that the trading day of its date is in",
        )
    weekday = _weekday(date)
    sundays = weekday == _SUNDAY
    if not sundays.any():
        return Placed(days.begins(date), weekday == _SATURDAY, "dates are those of trading days, which end at 17:00 in New York")
    if not (weekday == _FRIDAY).any():
        return Placed(
            days.begins(date + 1), weekday == _FRIDAY, "dates are those on which trading days begin: Sunday's is Monday's"
        )
    # A flat Sunday only repeats Friday's last price.
    closed = (weekday == _SATURDAY) | (sundays & frame.flat)
    return Placed(
        days.begins(np.where(sundays, date + 1, date)),
        closed,
        "dates are those of trading days, which end at 17:00 in New York; a Sunday is the beginning of Monday",
    )


def _weekday(date: Ints) -> Ints:
    """0 for Monday; 1970 began on a Thursday."""
    return (date + 3) % 7

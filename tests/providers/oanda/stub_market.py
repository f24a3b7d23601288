"""What the stand-in for OANDA quotes: a walk that is the same every time, and bars that depend on their start alone."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypeAlias
from zlib import crc32
from zoneinfo import ZoneInfo

from tests.wall_clock import WallClock

Json: TypeAlias = dict[str, object]

INSTRUMENTS = {"EUR_USD": 5, "GBP_USD": 5, "USD_JPY": 3, "AUD_USD": 5, "EUR_JPY": 3}
"""The instruments of the account, and the decimals of their prices."""

MINUTES = {"M1": 1, "M5": 5, "M15": 15, "H1": 60}
LENGTHS = (*MINUTES, "H4", "D", "W", "M")

_NEW_YORK = ZoneInfo("America/New_York")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Market:
    """The last price of every instrument. It moves on request, and never twice in a nanosecond."""

    def __init__(self, clock: WallClock, seed: int = 1) -> None:
        self._clock = clock
        self._random = random.Random(seed)
        self._points = dict.fromkeys(INSTRUMENTS, 110_000)
        self._nanoseconds = 0
        self.last = {name: self._price(name) for name in INSTRUMENTS}

    def move(self, name: str) -> Json:
        """The next price."""
        self._points[name] += self._random.randint(-9, 9)
        self.last[name] = self._price(name)
        return self.last[name]

    def _price(self, name: str) -> Json:
        self._nanoseconds = max(self._clock.nanoseconds(), self._nanoseconds + 1)
        bid = self._points[name]
        return {
            "type": "PRICE",
            "time": nine_digits(self._nanoseconds),
            "bids": [{"price": text(name, bid), "liquidity": 1_000_000}, {"price": text(name, bid - 1), "liquidity": 2_000_000}],
            "asks": [{"price": text(name, bid + 8), "liquidity": 1_000_000}],
            "closeoutBid": text(name, bid - 2),
            "closeoutAsk": text(name, bid + 10),
            "status": "tradeable",
            "tradeable": True,
            "instrument": name,
        }


def text(name: str, points: int) -> str:
    """A price as OANDA writes it."""
    decimals = INSTRUMENTS[name]
    return f"{points // 10**decimals}.{points % 10**decimals:0{decimals}}"


def nine_digits(nanoseconds: int) -> str:
    """A time as OANDA writes it."""
    whole = _EPOCH + timedelta(seconds=nanoseconds // 1_000_000_000)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000:09}Z"


def candles(name: str, length: str, since: datetime, sides: str, first: bool, now: datetime | None = None) -> Iterator[Json]:
    """The bars from the one that holds ``since``, or the one after it, to the one that holds ``now``, the present by default."""
    now = now or datetime.now(UTC)
    starts = bar_starts(length, since)
    start = next(starts)
    for number, end in enumerate(starts):
        if start > now:
            return
        seed = crc32(f"{name} {length} {start.isoformat()}".encode())
        if (number or first) and _has_ticks(length, start, seed):
            yield _candle(name, start, end, sides, seed, complete=end <= now)
        start = end


def _candle(name: str, start: datetime, end: datetime, sides: str, seed: int, complete: bool) -> Json:
    low = 110_000 + seed % 1000
    bar: Json = {"complete": complete, "volume": 1 + seed % 500, "time": f"{start:%Y-%m-%dT%H:%M:%S}.000000000Z"}
    for side, offset in (("bid", 0), ("mid", 4), ("ask", 8)):
        if side[0].upper() in sides:
            points = {"o": low + 3, "h": low + 9, "l": low, "c": low + 5}
            bar[side] = {field: text(name, value + offset) for field, value in points.items()}
    return bar


def _has_ticks(length: str, start: datetime, seed: int) -> bool:
    """False in the weekend, and in one of seven short bars: there were no quotes."""
    if length in {"W", "M"}:
        return True
    local = start.astimezone(_NEW_YORK)
    since_friday = timedelta(days=(local.weekday() - 4) % 7, hours=local.hour - 17)
    in_weekend = timedelta() <= since_friday < timedelta(days=2)
    return not in_weekend and (length not in {"M1", "M5"} or seed % 7 != 0)


def bar_starts(length: str, moment: datetime) -> Iterator[datetime]:
    """Where bars start, in UTC, from the one that holds ``moment``: written from OANDA's words, not from ours."""
    if length in MINUTES:
        step = timedelta(minutes=MINUTES[length])
        start = moment - (moment - _EPOCH) % step
        while True:
            yield start
            start += step
    yield from (start for start, end in pairwise(_trading_day_starts(length, moment)) if end > moment)


def _trading_day_starts(length: str, moment: datetime) -> Iterator[datetime]:
    """Starts of bars that keep to 17:00 in New York, from well before ``moment``: its clock's times, each put into UTC."""
    local = moment.astimezone(_NEW_YORK).replace(tzinfo=None)
    wall = local.replace(hour=17, minute=0, second=0, microsecond=0) - timedelta(days=40)
    last = None
    while True:
        if length in {"H4", "D"} or (wall.weekday() == 4 if length == "W" else (wall + timedelta(days=1)).day == 1):
            start = wall.replace(tzinfo=_NEW_YORK).astimezone(UTC)
            if start != last:
                yield start
            last = start
        wall += timedelta(hours=4) if length == "H4" else timedelta(days=1)

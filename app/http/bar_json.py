"""Bars as JSON, formatted from the texts that are stored."""

from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

import orjson

from app.market.bars.candle import Granularity
from app.market.clock import parse_time
from app.market.hours.calendar import NEW_YORK
from app.market.pair import CurrencyPair
from app.storage.market.bar_texts import BarTexts

WITH_A_TRADING_DAY = frozenset({Granularity.D, Granularity.W, Granularity.M})

_SIDES = {"B": ("bid", 1), "M": ("mid", 5), "A": ("ask", 9)}
"""Of each letter, the name of the price and where its open is in ``BarTexts``."""


def sides_of(letters: str) -> list[tuple[str, int]]:
    """Return the names of the prices that letters stand for, each with the index of its open in ``BarTexts``."""
    return [_SIDES[letter] for letter in _SIDES if letter in letters]


def digits_of(precision: int) -> Callable[[str], str]:
    """Return what gives a stored price the digits of a pair."""
    point, unit = -precision - 1, Decimal(1).scaleb(-precision)

    def shown(price: str) -> str:
        # Nearly every stored price has these digits already.
        return price if price[point : point + 1] == "." else str(Decimal(price).quantize(unit, ROUND_HALF_EVEN))

    return shown


def mid_digits_of(precision: int) -> Callable[[str], str]:
    """Return what gives a stored mid the digits of a pair, and one more where it needs it."""
    point, unit = -precision - 1, Decimal(1).scaleb(-precision - 1)

    def shown(price: str) -> str:
        if price[point : point + 1] == ".":
            return price
        text = str(Decimal(price).quantize(unit, ROUND_HALF_EVEN))
        return text.removesuffix("0")

    return shown


def rows_of(pair: CurrencyPair, granularity: Granularity, bars: Sequence[BarTexts], letters: str) -> bytes:
    """Return the items of a list of bars as JSON, separated by commas. ``letters`` are those of the prices: B, M and A."""
    sides = sides_of(letters)
    price, mid = digits_of(pair.precision), mid_digits_of(pair.precision)
    shapes = [f'"{name}":{{"o":"%s","h":"%s","l":"%s","c":"%s"}}' for name, _ in sides]
    shape = '{{"time":"%s","granularity":"{}","complete":%s,{},"volume":%d,"source":%s%s}}'.format(granularity, ",".join(shapes))
    picks: list[tuple[int, Callable[[str], str]]] = [
        (index, mid if name == "mid" else price) for name, first in sides for index in range(first, first + 4)
    ]
    sources: dict[str, str] = {}
    rows = []
    for bar in bars:
        source = sources.get(bar[15]) or sources.setdefault(bar[15], orjson.dumps(bar[15]).decode())
        day = f',"trading_day":"{trading_day(granularity, bar[0])}"' if granularity in WITH_A_TRADING_DAY else ""
        prices = [digits(str(bar[index])) for index, digits in picks]
        rows.append(shape % (bar[0], "true" if bar[14] else "false", *prices, bar[13], source, day))
    return ",".join(rows).encode()


def trading_day(granularity: Granularity, time: str) -> str:
    """Return the date of the end, in New York, of the bar that starts at an RFC 3339 time."""
    return granularity.end(parse_time(time)).astimezone(NEW_YORK).date().isoformat()

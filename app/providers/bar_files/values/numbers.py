"""Prices and volumes: parsed in columns, and one by one for unusual fields."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from app.providers.bar_files.text.rows import Column, Flags, Ints
from app.providers.bar_files.values.unusable import UnusableRow

MOST_DECIMALS = 10
"""Maximum decimals of a stored price."""

_HIGHEST_PRICE = 10_000_000  # a price of MOST_DECIMALS, and the mid's one more, in 64 bits
_LONGEST_PRICE = 20
_LONGEST_AT_ONCE = 17
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", re.ASCII)
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9}
_MOST_VOLUME = 2**53
_ZERO, _NINE = ord("0"), ord("9")
_TENS: Ints = 10 ** np.arange(19, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A column of prices: integers ``digits`` in units of ``10 ** -decimals``, valid where ``usable``."""

    digits: Ints
    decimals: Ints
    usable: Flags

    def scaled(self, decimals: int) -> Ints:
        """Return the prices in units of ``10 ** -decimals``; none has more decimals."""
        return self.digits * _TENS[np.where(self.usable, decimals - self.decimals, 0)]


def read_prices(column: Column, point: str) -> Numbers:
    """Parse a column of prices with the decimal separator ``point``."""
    numbers = _plain(column, point)
    numbers.usable[numbers.digits // _TENS[numbers.decimals] >= _HIGHEST_PRICE] = False
    for row in np.flatnonzero(~numbers.usable | (numbers.decimals > MOST_DECIMALS)):
        try:
            price = kept(read_price(column.read(int(row)), point))
        except UnusableRow:
            numbers.usable[row] = False
            numbers.digits[row] = numbers.decimals[row] = 0
            continue
        decimals = max(-int(price.as_tuple().exponent), 0)
        numbers.digits[row], numbers.decimals[row] = int(price.scaleb(decimals)), decimals
        numbers.usable[row] = True
    return numbers


def read_price(text: str, point: str = ".") -> Decimal:
    """Parse a non-negative price. Raises UnusableRow."""
    text = text.strip()
    if point == ",":
        # A point alone may be a decimal separator or separate thousands, so it is rejected rather than guessed.
        grouped = text.count(".") and text.count(",") == 1
        text = text.translate({ord("."): None if grouped else ".", ord(","): "."}) if grouped or "." not in text else ""
    elif _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    # Decimal accepts more than prices: exponents, NaN, underscores, digits of other scripts.
    if len(text) > _LONGEST_PRICE or not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise UnusableRow("not a price")
    price = Decimal(text)
    if price >= _HIGHEST_PRICE:
        raise UnusableRow("not a price")
    return price


def kept(price: Decimal) -> Decimal:
    """Return the price as it is stored: with at most ten decimals, and without binary rounding noise.

    Programs that keep prices in single precision write 1.3065999746322632 for 1.3066: the shortest decimal that gives the same
    binary number is the price that they had.
    """
    if -int(price.as_tuple().exponent) <= MOST_DECIMALS:
        return price
    single = np.float32(price)
    if float(single) == float(price):
        price = Decimal(np.format_float_positional(single, unique=True, trim="-"))
    return round(price, MOST_DECIMALS) if -int(price.as_tuple().exponent) > MOST_DECIMALS else price


def read_volumes(column: Column, point: str) -> Ints:
    """Parse a column of volumes, rounded to integers; 0 (unknown) for anything else, so that no row is rejected."""
    numbers = _plain(column, point)
    scale = _TENS[np.minimum(numbers.decimals, len(_TENS) - 1)]
    volumes = np.where(numbers.usable, (numbers.digits + scale // 2) // scale, 0)
    for row in np.flatnonzero(~numbers.usable & (column.widths > 0)):
        volumes[row] = read_volume(column.read(int(row)), point)
    return volumes


def read_volume(text: str, point: str = ".") -> int:
    """Parse a volume, rounded to an integer; 0 for NaN, a dash, a negative number and the like."""
    text = text.strip().upper()
    text = text.replace(".", "").replace(",", ".") if point == "," else text.replace(",", "")
    unit = _UNITS.get(text[-1:], 1.0)
    try:
        volume = float(text[:-1] if text[-1:] in _UNITS else text) * unit
    except ValueError:
        return 0
    return math.floor(volume + 0.5) if math.isfinite(volume) and 0 < volume < _MOST_VOLUME else 0


def read_digits(column: Column) -> tuple[Ints, Flags]:
    """Parse integers, and return which fields are valid."""
    numbers = _plain(column, "")
    return numbers.digits, numbers.usable & (numbers.decimals == 0)


def _plain(column: Column, point: str) -> Numbers:
    """Parse fields of digits with at most one decimal separator."""
    alike = _alike(column, point)
    return _unlike(column, point) if alike is None else alike


def _alike(column: Column, point: str) -> Numbers | None:
    """Parse fields with the same width and position of the separator, the usual case; return None for others."""
    width = int(column.ends[0] - column.starts[0]) if len(column) else 0
    if not 0 < width <= _LONGEST_AT_ONCE or (column.widths != width).any():
        return None
    digits = column.text[column.starts[:, None] + np.arange(width)]
    sign = column.read(0).find(point) if point else -1
    places = np.arange(width) != sign
    if sign >= 0 and ((digits[:, sign] != ord(point)).any() or width == 1):
        return None
    digits = digits[:, places] - _ZERO  # of a byte below the digits, this is above them
    if (digits > 9).any():
        return None
    whole = digits @ _TENS[: digits.shape[1]][::-1]
    decimals = width - 1 - sign if sign >= 0 else 0
    return Numbers(whole, np.full(len(column), decimals, np.int64), np.ones(len(column), bool))


def _unlike(column: Column, point: str) -> Numbers:
    """Parse fields of any width, from right to left."""
    widths = column.widths
    usable = (widths > 0) & (widths <= _LONGEST_AT_ONCE)
    places = int(widths[usable].max(initial=0))
    whole = np.zeros(len(column), np.int64)
    fraction = np.zeros(len(column), np.int64)
    decimals = np.full(len(column), -1, np.int64)
    seen = np.zeros(len(column), bool)
    sign = ord(point) if point else -1
    last = max(len(column.text) - 1, 0)
    for place in range(places):
        at = column.ends - 1 - place
        inside = at >= column.starts
        byte = column.text[np.clip(at, 0, last)].astype(np.int64) if len(column.text) else whole
        digit = (byte >= _ZERO) & (byte <= _NINE)
        is_sign = inside & (byte == sign) & (decimals < 0)
        usable &= ~inside | digit | is_sign
        seen |= inside & digit
        # Digits count as integers until the separator is reached; then they become the fraction.
        fraction = np.where(is_sign, whole, fraction)
        decimals = np.where(is_sign, place, decimals)
        whole = np.where(is_sign, 0, whole)
        weight = _TENS[np.clip(np.where(decimals >= 0, place - 1 - decimals, place), 0, 18)]
        whole += np.where(inside & digit, (byte - _ZERO) * weight, 0)
    decimals = np.maximum(decimals, 0)
    usable &= seen
    scale = _TENS[np.minimum(decimals, 18)]
    return Numbers(np.where(usable, whole * scale + fraction, 0), np.where(usable, decimals, 0), usable)

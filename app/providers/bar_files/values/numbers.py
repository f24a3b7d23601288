"""Prices and volumes: a column at a time as whole numbers, and one by one where a field is out of the ordinary."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from app.providers.bar_files.text.rows import Column, Flags, Ints
from app.providers.bar_files.values.unusable import UnusableRow

MOST_DECIMALS = 10
"""Decimals that are kept of a price."""

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
    """A column of prices: ``digits`` are whole numbers of 10 to the minus ``decimals``, each where ``usable``."""

    digits: Ints
    decimals: Ints
    usable: Flags

    def scaled(self, decimals: int) -> Ints:
        """The prices as whole numbers of 10 to the minus ``decimals``, which none has more of."""
        return self.digits * _TENS[np.where(self.usable, decimals - self.decimals, 0)]


def read_prices(column: Column, point: str) -> Numbers:
    """The prices of a column whose decimal sign is ``point``."""
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
    """A price as digits and a decimal sign, from 0 up. Raises UnusableRow."""
    text = text.strip()
    if point == ",":
        # A point alone may be a decimal sign or part thousands: it is refused rather than guessed.
        grouped = text.count(".") and text.count(",") == 1
        text = text.translate({ord("."): None if grouped else ".", ord(","): "."}) if grouped or "." not in text else ""
    elif _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    # Decimal takes more than prices: exponents, NaN, underscores, the digits of every script.
    if len(text) > _LONGEST_PRICE or not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise UnusableRow("not a price")
    price = Decimal(text)
    if price >= _HIGHEST_PRICE:
        raise UnusableRow("not a price")
    return price


def kept(price: Decimal) -> Decimal:
    """The price as it is stored: with ten decimals, or as it was before it went through a binary number.

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
    """Volumes as whole numbers; 0, which means not known, for what is no number. No volume makes a row unusable."""
    numbers = _plain(column, point)
    scale = _TENS[np.minimum(numbers.decimals, len(_TENS) - 1)]
    volumes = np.where(numbers.usable, (numbers.digits + scale // 2) // scale, 0)
    for row in np.flatnonzero(~numbers.usable & (column.widths > 0)):
        volumes[row] = read_volume(column.read(int(row)), point)
    return volumes


def read_volume(text: str, point: str = ".") -> int:
    """A volume rounded to a whole number; 0 for what is none: NaN, a dash, a negative number."""
    text = text.strip().upper()
    text = text.replace(".", "").replace(",", ".") if point == "," else text.replace(",", "")
    unit = _UNITS.get(text[-1:], 1.0)
    try:
        volume = float(text[:-1] if text[-1:] in _UNITS else text) * unit
    except ValueError:
        return 0
    return math.floor(volume + 0.5) if math.isfinite(volume) and 0 < volume < _MOST_VOLUME else 0


def read_digits(column: Column) -> tuple[Ints, Flags]:
    """Whole numbers, and which fields are some."""
    numbers = _plain(column, "")
    return numbers.digits, numbers.usable & (numbers.decimals == 0)


def _plain(column: Column, point: str) -> Numbers:
    """The fields that are digits with at most one decimal sign."""
    alike = _alike(column, point)
    return _unlike(column, point) if alike is None else alike


def _alike(column: Column, point: str) -> Numbers | None:
    """The fields where all have the same width and their decimal sign at the same place, as most do; None where they do not."""
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
    """The same for fields of any form, read from their ends, a place at a time."""
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
        # Until the sign is met, the digits are taken for whole ones; then they become those after the sign.
        fraction = np.where(is_sign, whole, fraction)
        decimals = np.where(is_sign, place, decimals)
        whole = np.where(is_sign, 0, whole)
        weight = _TENS[np.clip(np.where(decimals >= 0, place - 1 - decimals, place), 0, 18)]
        whole += np.where(inside & digit, (byte - _ZERO) * weight, 0)
    decimals = np.maximum(decimals, 0)
    usable &= seen
    scale = _TENS[np.minimum(decimals, 18)]
    return Numbers(np.where(usable, whole * scale + fraction, 0), np.where(usable, decimals, 0), usable)

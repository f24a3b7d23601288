"""The fields of a row of bars or ticks: prices, times and the rest, each validated."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.errors import InvalidPair
from app.market.bars.candle import Granularity, Ohlc
from app.market.pair import CurrencyPair

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DAY_IN_MILLISECONDS = 86_400_000
_LENGTH_OF_A_DATE = 10
_LONGEST_SECONDS = 11
_LONGEST_PRICE = 20
_LONGEST_VOLUME = 12


class UnusableRow(Exception):
    """A row that cannot be used. The text is the reason, in the same words for every such row."""


def split_row(line: str, delimiter: str, count: int) -> list[str]:
    """Split a row into ``count`` fields. Raises UnusableRow, as every function here does for input that it cannot read."""
    try:
        fields = next(csv.reader([line], delimiter=delimiter, strict=True)) if '"' in line else line.split(delimiter)
    except csv.Error as error:
        raise UnusableRow("quotation marks that do not match") from error
    if len(fields) != count:
        raise UnusableRow("wrong number of columns")
    return fields


def read_price(text: str) -> Decimal:
    """Read a price of digits and a point, from 0 up."""
    text = text.strip()
    # Decimal accepts more than prices: exponents, NaN, underscores, the digits of every script.
    if len(text) > _LONGEST_PRICE or not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise UnusableRow("not a price")
    return Decimal(text)


def read_ohlc(fields: Sequence[str]) -> Ohlc:
    """Read open, high, low and close, above 0."""
    first, high, low, last = map(read_price, fields)
    if not (low <= first <= high and low <= last <= high):
        raise UnusableRow("a price outside low and high")
    if not low:
        raise UnusableRow("price not above 0")
    return Ohlc(first, high, low, last)


def check_sides(bid: Ohlc, ask: Ohlc) -> None:
    """Raise UnusableRow for bars that cannot come from quotes whose asks are at or above their bids."""
    if ask.close < bid.close:
        raise UnusableRow("ask below bid at the close")
    if ask.open < bid.open:
        raise UnusableRow("ask below bid at the open")
    if ask.high < bid.high:
        raise UnusableRow("ask below bid at the high")
    if ask.low < bid.low:
        raise UnusableRow("ask below bid at the low")


def halfway(bid: Ohlc, ask: Ohlc) -> Ohlc:
    """Return mids that stand in for those of the quotes, each price halfway between bid and ask."""
    return Ohlc((bid.open + ask.open) / 2, (bid.high + ask.high) / 2, (bid.low + ask.low) / 2, (bid.close + ask.close) / 2)


def read_moment(text: str) -> tuple[datetime, bool]:
    """Return the time in UTC, and whether the text is only a date, which stands for its midnight."""
    text = text.strip()
    try:
        if text.isascii() and text.isdigit() and len(text) > 8:
            return _EPOCH + int(text) * (_MILLISECOND if len(text) > _LONGEST_SECONDS else timedelta(seconds=1)), False
        time = datetime.fromisoformat(text)
        return (time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)), len(text) <= _LENGTH_OF_A_DATE
    except (ValueError, OverflowError) as error:
        raise UnusableRow("not a time") from error


def read_moment_of_day(midnight: datetime, text: str) -> datetime:
    """Read milliseconds since midnight."""
    text = text.strip()
    if not text.isascii() or not text.isdigit() or len(text) > 8 or int(text) >= _DAY_IN_MILLISECONDS:
        raise UnusableRow("not a time")
    return midnight + int(text) * _MILLISECOND


def read_volume(text: str) -> int:
    """Read a number of quotes. An empty field is 0, for unknown."""
    text = text.strip()
    whole, _, part = text.partition(".")
    if len(text) > _LONGEST_VOLUME or not text.isascii() or not (whole or "0").isdigit() or part.strip("0"):
        raise UnusableRow("volume is not a number of quotes")
    return int(whole or "0")


def read_pair(text: str) -> CurrencyPair:
    """Read a pair in any spelling."""
    try:
        return CurrencyPair.parse(text.strip())
    except InvalidPair as error:
        raise UnusableRow("not a pair") from error


def read_granularity(text: str) -> Granularity:
    """Read a granularity by name."""
    try:
        return Granularity(text.strip().upper())
    except ValueError as error:
        raise UnusableRow("not a granularity") from error

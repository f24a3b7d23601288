"""Information in file names: pair, day and side."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from app.market.pair import CurrencyPair

CURRENCIES = frozenset(
    {
        "AED", "ARS", "AUD", "BGN", "BRL", "CAD", "CHF", "CLP", "CNH", "CNY", "COP", "CZK", "DKK", "EUR", "GBP", "HKD", "HRK",
        "HUF", "IDR", "ILS", "INR", "ISK", "JPY", "KRW", "KWD", "KZT", "MAD", "MXN", "MYR", "NGN", "NOK", "NZD", "PEN", "PHP",
        "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "VND", "XAG", "XAU",
        "XPD", "XPT", "ZAR",
    }
)  # fmt: skip
"""Codes that may form a pair in a name; six other letters are taken for a word."""

_WORD = re.compile(r"[A-Za-z]+")
_SIDE = re.compile(r"(?<![a-z])(bid|ask)s?(?![a-z])", re.IGNORECASE)
_FOLDERS = 2
_LONGEST_SUFFIX = 3


def pair_in_name(path: Path, inside: str = "") -> CurrencyPair | None:
    """Find the pair in the name of a file (``eurusd.zip``, ``DAT_ASCII_EURUSD_M1_2012.csv``, ``EUR_USD.csv``), or a folder's.

    ``inside`` is the name of the file in a zip. Folders are those of the file and one above: FXCM has ``EURUSD/2012/5.csv.gz``.
    """
    folders = path.absolute().parents[:_FOLDERS]
    for name in (path.name, inside, *(folder.name for folder in folders)):
        if (pair := _pair_in(name)) is not None:
            return pair
    return None


def day_in_name(path: Path) -> datetime | None:
    """Return midnight UTC of the day at the beginning of the file name, or None."""
    try:
        return datetime.fromisoformat(path.stem[:8]).replace(tzinfo=UTC)
    except ValueError:
        return None


def side_in_name(name: str) -> str | None:
    """Return ``bid`` or ``ask`` if the name contains exactly one of them as a word."""
    found = _SIDE.findall(name)
    return found[0].lower() if len(found) == 1 else None


def without_side(name: str) -> str:
    """Return the name without its side: equal for the file of bids and the file of asks."""
    return _SIDE.sub("*", name).lower()


def _pair_in(name: str) -> CurrencyPair | None:
    words = _WORD.findall(name)
    for base, quote in _candidates(words):
        if base in CURRENCIES and quote in CURRENCIES and base != quote:
            return CurrencyPair(base, quote)
    return None


def _candidates(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield words of six letters, with an optional broker's suffix in lower case, and adjacent words of three."""
    for word in words:
        suffix = word[6:]
        if len(word) == 6 or (len(suffix) <= _LONGEST_SUFFIX and suffix.islower() and word[:6].isupper()):
            yield word[:3].upper(), word[3:6].upper()
    yield from ((one.upper(), other.upper()) for one, other in pairwise(words) if len(one) == len(other) == 3)

"""What the name of a file says: the pair, the day, the side, the clock."""

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
"""Codes that a pair in a name is made of; six other letters are a word. BTC and the like have to be given."""

_WORD = re.compile(r"[A-Za-z]+")
_SIDE = re.compile(r"(?<![a-z])(bid|ask)s?(?![a-z])", re.IGNORECASE)
_FOLDERS = 2
_LONGEST_SUFFIX = 3


def pair_in_name(path: Path, inside: str = "") -> CurrencyPair | None:
    """The pair that the file's name holds (``eurusd.zip``, ``DAT_ASCII_EURUSD_M1_2012.csv``, ``EUR_USD.csv``), or a folder's.

    ``inside`` is the name of the file in a zip. Folders are those of the file and one above: FXCM has ``EURUSD/2012/5.csv.gz``.
    """
    folders = path.absolute().parents[:_FOLDERS]
    for name in (path.name, inside, *(folder.name for folder in folders)):
        if (pair := _pair_in(name)) is not None:
            return pair
    return None


def day_in_name(path: Path) -> datetime | None:
    """Midnight UTC of the day that begins the file's name; None where it begins otherwise."""
    try:
        return datetime.fromisoformat(path.stem[:8]).replace(tzinfo=UTC)
    except ValueError:
        return None


def side_in_name(name: str) -> str | None:
    """``bid`` or ``ask`` where the name has one of them as a word, once."""
    found = _SIDE.findall(name)
    return found[0].lower() if len(found) == 1 else None


def without_side(name: str) -> str:
    """The name with its side taken out: the same for the file of the bids and that of the asks."""
    return _SIDE.sub("*", name).lower()


def _pair_in(name: str) -> CurrencyPair | None:
    words = _WORD.findall(name)
    for base, quote in _candidates(words):
        if base in CURRENCIES and quote in CURRENCIES and base != quote:
            return CurrencyPair(base, quote)
    return None


def _candidates(words: list[str]) -> Iterator[tuple[str, str]]:
    """Words of six letters, with a broker's suffix of up to three in small ones, and neighbours of three."""
    for word in words:
        suffix = word[6:]
        if len(word) == 6 or (len(suffix) <= _LONGEST_SUFFIX and suffix.islower() and word[:6].isupper()):
            yield word[:3].upper(), word[3:6].upper()
    yield from ((one.upper(), other.upper()) for one, other in pairwise(words) if len(one) == len(other) == 3)

"""Currency pairs: their names, precision and pips."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from types import MappingProxyType

from app.errors import InvalidPair

_NAME = re.compile(r"([A-Za-z]{3})[_/]?([A-Za-z]{3})")

DEFAULT_PAIRS = (
    "EUR_USD", "GBP_USD", "USD_JPY", "USD_CAD", "AUD_USD", "USD_CHF", "NZD_USD", "EUR_GBP", "EUR_JPY", "EUR_CHF",
    "GBP_JPY", "GBP_CHF", "AUD_JPY", "AUD_NZD", "EUR_AUD", "GBP_AUD", "USD_CNH", "USD_HKD", "EUR_CAD", "GBP_CAD",
)  # fmt: skip

_DECIMALS = 5
"""Decimals of the prices of most pairs, with a pip of 0.0001.

This and the tables below are the ``displayPrecision`` of OANDA's instruments, whose pip is always ten times the last decimal.
"""

_DECIMALS_BY_QUOTE = MappingProxyType({"JPY": 3, "HUF": 3, "THB": 3})
"""Decimals by quote currency. OANDA's others, CNH, CZK, DKK, HKD, MXN, NOK, PLN, SAR, SEK, SGD, TRY and ZAR, have five."""

_DECIMALS_BY_METAL = MappingProxyType({"XAU": 3, "XPT": 3, "XPD": 3})
"""Decimals by base, in whatever currency an ounce is quoted; silver, XAG, is quoted as currencies are."""

_DECIMALS_BY_PAIR = MappingProxyType({"HKD_JPY": 5})
"""Decimals of the pairs that the other tables do not fit."""


@dataclass(frozen=True, slots=True)
class CurrencyPair:
    """A base and a quote currency, as ISO 4217 codes in capitals (CNH for offshore renminbi).

    Prices are in units of ``quote`` for one unit of ``base``.
    """

    base: str
    quote: str

    @classmethod
    def parse(cls, text: str) -> "CurrencyPair":
        """Read ``EUR_USD``, ``eur/usd`` or ``EURUSD``. Raises InvalidPair."""
        match = _NAME.fullmatch(text)
        if match is None or match[1].upper() == match[2].upper():
            raise InvalidPair(f"Invalid instrument: {text[:40]!r}")
        return cls(match[1].upper(), match[2].upper())

    @property
    def name(self) -> str:
        """The form used in every answer: ``EUR_USD``."""
        return f"{self.base}_{self.quote}"

    @property
    def precision(self) -> int:
        """Decimals of a quoted price: down to a tenth of a pip."""
        if self.name in _DECIMALS_BY_PAIR:
            return _DECIMALS_BY_PAIR[self.name]
        return _DECIMALS_BY_METAL.get(self.base) or _DECIMALS_BY_QUOTE.get(self.quote, _DECIMALS)

    @property
    def pip(self) -> Decimal:
        """The unit that dealers count in: 0.0001 for most pairs, 0.01 for those quoted in yen, forints or baht and for gold."""
        return Decimal(1).scaleb(1 - self.precision)

    def round(self, price: Decimal) -> Decimal:
        """Round a price to the precision of this pair; ties go to even, so that mids are not biased."""
        return price.quantize(Decimal(1).scaleb(-self.precision), ROUND_HALF_EVEN)

    def round_mid(self, mid: Decimal) -> Decimal:
        """Round a mid, or a difference of mids, to the precision of this pair where that is exact, else to one digit more.

        The mid of a bid and an ask at the precision of the pair needs no more digits than that.
        """
        rounded = mid.quantize(Decimal(1).scaleb(-self.precision - 1), ROUND_HALF_EVEN)
        return rounded if rounded.as_tuple().digits[-1] else self.round(rounded)

    def __str__(self) -> str:
        return self.name


class TrackedPairs:
    """The pairs that a gateway serves, in the order in which it lists them."""

    def __init__(self, names: Iterable[str]) -> None:
        pairs = [CurrencyPair.parse(name) for name in names]
        self._pairs = {pair.name: pair for pair in pairs}
        self._spellings = {form: pair for pair in pairs for form in (pair.name, pair.base + pair.quote)}
        self.names = tuple(self._pairs)

    def find(self, text: object) -> CurrencyPair:
        """Return the tracked pair that a client named, in any accepted spelling. Raises InvalidPair."""
        if not isinstance(text, str):
            raise InvalidPair(f"Invalid instrument: a name like EUR_USD is needed, not {_kind(text)}")
        pair = self._pairs.get(text) or self._spellings.get(text[:8].upper().replace("/", "_"))
        if pair is None or not text.isascii():
            raise InvalidPair(f"Invalid instrument: {text[:40]}")
        return pair

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, name: object) -> bool:
        return name in self._pairs

    def __iter__(self) -> Iterator[CurrencyPair]:
        return iter(self._pairs.values())


def _kind(value: object) -> str:
    """Name the type of a JSON value in words that a client knows."""
    return {type(None): "null", bool: "a boolean", int: "a number", float: "a number", list: "a list",
            dict: "an object", bytes: "binary data"}.get(type(value), "that")  # fmt: skip

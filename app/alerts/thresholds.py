"""The thresholds of the three severities, and how a setting writes them.

A setting is a list of entries with commas between them, each ``NAME=INFO/WARNING/CRITICAL``. An empty part leaves that severity
out, so ``*=/0.15/0.25`` never alerts as info. ``*`` stands for every name that has no entry of its own. A word before the name
says what else than the plain value is compared: ``median USD_HKD=2/3/4``, ``change *=0.2/0.3/0.5``. Each rule names its words.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

from app.alerts.alert import Severity

EVERY = "*"
"""The name that stands for all others."""

PLAIN = ""
"""The kind of an entry without a word before its name."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A threshold for each severity; None where there is none.

    Raises ValueError where they are not positive or do not rise with the severity.
    """

    info: float | None = None
    warning: float | None = None
    critical: float | None = None

    def __post_init__(self) -> None:
        values = list(self.by_severity().values())
        if not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError("a threshold is a number above zero")
        if any(milder >= graver for milder, graver in pairwise(values)):
            raise ValueError("a graver severity needs a higher threshold")

    def by_severity(self) -> dict[Severity, float]:
        """Those that there are, the mildest first."""
        values = {Severity.INFO: self.info, Severity.WARNING: self.warning, Severity.CRITICAL: self.critical}
        return {severity: value for severity, value in values.items() if value is not None}

    @property
    def highest(self) -> float:
        """The highest of them, 0 where there are none."""
        return max(self.by_severity().values(), default=0.0)


NONE = Thresholds()
"""No threshold at all: nothing is ever reached."""

Table = Mapping[str, Mapping[str, Thresholds]]
"""Thresholds by kind, then by name."""


def parse_thresholds(text: str, kinds: Collection[str], name: Callable[[str], str]) -> Table:
    """Read a setting: its thresholds by kind (``PLAIN`` and those in ``kinds``), then by name.

    ``name`` brings a name other than ``*`` into its one form and raises ValueError where it is none. An empty text holds none.
    Raises ValueError with the reason in one line, also where a name comes twice.
    """
    table: dict[str, dict[str, Thresholds]] = {kind: {} for kind in (PLAIN, *kinds)}
    for entry in filter(None, map(str.strip, text.split(","))):
        try:
            left, equals, right = entry.partition("=")
            if not equals:
                raise ValueError("NAME=INFO/WARNING/CRITICAL is needed")
            *words, written = left.split() or [""]
            kind = " ".join(words)
            if kind not in table:
                raise ValueError(f"before a name there can be {' or '.join(kinds)}, nothing else")
            key = EVERY if written == EVERY else name(written)
            if key in table[kind]:
                raise ValueError("it has an entry already")
            table[kind][key] = _thresholds(right)
        except ValueError as error:
            raise ValueError(f"{entry[:60]!r}: {error}") from None
    return table


def thresholds_of(table: Table, kind: str, name: str) -> Thresholds:
    """Those of this name, else those of ``*``, else none."""
    return table[kind].get(name) or table[kind].get(EVERY) or NONE


def _thresholds(text: str) -> Thresholds:
    parts = [part.strip() for part in text.split("/")]
    if len(parts) != len(Severity):
        raise ValueError("three thresholds are needed, INFO/WARNING/CRITICAL, of which any may be empty")
    return Thresholds(*(_number(part) if part else None for part in parts))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text[:20]!r} is no number") from None

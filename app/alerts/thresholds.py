"""The thresholds of the three severities, and their syntax in settings.

A setting is a comma-separated list of entries ``NAME=INFO/WARNING/CRITICAL``. An empty part leaves that severity out, so
``*=/0.15/0.25`` never raises an alert of severity info. ``*`` stands for every name without an entry of its own. A word before
the name selects another criterion than the plain value: ``median USD_HKD=2/3/4``, ``change *=0.2/0.3/0.5``. Each rule defines
its own words.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

from app.market.alert import Severity

EVERY = "*"
"""The name that stands for all others."""

PLAIN = ""
"""The criterion of an entry without a word before its name."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A threshold for each severity, None for none.

    Raises ValueError if they are not positive or do not rise with the severity.
    """

    info: float | None = None
    warning: float | None = None
    critical: float | None = None

    def __post_init__(self) -> None:
        values = list(self.by_severity().values())
        if not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError("a threshold must be a number above zero")
        if any(milder >= graver for milder, graver in pairwise(values)):
            raise ValueError("a higher severity needs a higher threshold")

    def by_severity(self) -> dict[Severity, float]:
        """Return the thresholds that exist, lowest severity first."""
        values = {Severity.INFO: self.info, Severity.WARNING: self.warning, Severity.CRITICAL: self.critical}
        return {severity: value for severity, value in values.items() if value is not None}

    @property
    def highest(self) -> float:
        """The highest threshold, 0 if there is none."""
        return max(self.by_severity().values(), default=0.0)


NONE = Thresholds()
"""No thresholds: nothing is ever reached."""

Table = Mapping[str, Mapping[str, Thresholds]]
"""Thresholds by criterion, then by name."""


def parse_thresholds(text: str, kinds: Collection[str], name: Callable[[str], str]) -> Table:
    """Parse a setting into thresholds by criterion (``PLAIN`` and ``kinds``), then by name.

    ``name`` normalises a name other than ``*``, and raises ValueError for an invalid one. An empty text gives no thresholds.
    Raises ValueError with the reason in one line, also for a name that occurs twice.
    """
    table: dict[str, dict[str, Thresholds]] = {kind: {} for kind in (PLAIN, *kinds)}
    for entry in filter(None, map(str.strip, text.split(","))):
        try:
            left, equals, right = entry.partition("=")
            if not equals:
                raise ValueError("NAME=INFO/WARNING/CRITICAL is expected")
            *words, written = left.split() or [""]
            kind = " ".join(words)
            if kind not in table:
                raise ValueError(f"only {' or '.join(kinds)} may stand before a name")
            key = EVERY if written == EVERY else name(written)
            if key in table[kind]:
                raise ValueError("the name has an entry already")
            table[kind][key] = _thresholds(right)
        except ValueError as error:
            raise ValueError(f"{entry[:60]!r}: {error}") from None
    return table


def thresholds_of(table: Table, kind: str, name: str) -> Thresholds:
    """Return the thresholds of this name, else those of ``*``, else none."""
    return table[kind].get(name) or table[kind].get(EVERY) or NONE


def _thresholds(text: str) -> Thresholds:
    parts = [part.strip() for part in text.split("/")]
    if len(parts) != len(Severity):
        raise ValueError("three thresholds are expected, INFO/WARNING/CRITICAL, any of them empty")
    return Thresholds(*(_number(part) if part else None for part in parts))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text[:20]!r} is not a number") from None

"""Options for reading files."""

import re
from dataclasses import dataclass
from enum import StrEnum

from app.errors import ConfigurationError
from app.market.bars.candle import Granularity
from app.market.pair import CurrencyPair
from app.market.source import UNKNOWN_SOURCES, Sources
from app.providers.bar_files.values.clocks import Clock

_SOURCE = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


class Crossed(StrEnum):
    """What to do with rows whose ask is below the bid."""

    REJECT = "reject"
    KEEP = "keep"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class Options:
    """How to read files.

    ``pair`` is for files that do not name it, or selects its rows; ``granularity`` is for files where it cannot be inferred
    from the rows, or the target of ``resample``, which aggregates rows that are closer together than the bars. ``clock``
    applies to times without an offset, and ``source`` replaces that of the layout. Bars in a closed market are kept with
    ``keep_closed``, and always for those of ``sources`` that are always open.
    """

    pair: CurrencyPair | None = None
    granularity: Granularity | None = None
    clock: Clock | None = None
    source: str | None = None
    crossed: Crossed = Crossed.REJECT
    resample: bool = False
    keep_closed: bool = False
    sources: Sources = UNKNOWN_SOURCES


def checked_source(name: str, sources: Sources) -> str:
    """Check a source name for bars. Raises ConfigurationError for other characters and for sources of invented prices."""
    if _SOURCE.fullmatch(name) is None or sources.is_invented(name):
        raise ConfigurationError(
            f"--source: {name[:40]!r} cannot mark imported bars: give up to 32 small letters, digits, dots and dashes, "
            f"and none of {', '.join(sorted(sources.invented))}"
        )
    return name

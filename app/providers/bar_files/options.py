"""What the operator says of files to be read."""

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
    """What becomes of a row whose ask is below its bid."""

    REJECT = "reject"
    KEEP = "keep"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class Options:
    """How files are to be read, where they do not tell themselves.

    ``pair`` is for files of which neither the name nor the rows tell it, or to take its rows alone; ``granularity`` for those
    whose bars are not of the most frequent step from row to row, or that are to be aggregated. ``clock`` is the one that times
    without an offset are written by, ``source`` what the bars are marked with in place of the layout's. With ``resample`` rows
    closer together than the bars are aggregated; with ``keep_closed`` bars in a closed market are kept,
    as are those of ``sources`` that are always open.
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
    """A name to mark bars with. Raises ConfigurationError for one that bars of invented prices have, or of other signs."""
    if _SOURCE.fullmatch(name) is None or sources.is_invented(name):
        raise ConfigurationError(
            f"--source: {name[:40]!r} cannot mark imported bars: give up to 32 small letters, digits, dots and dashes, "
            f"and none of {', '.join(sorted(sources.invented))}"
        )
    return name

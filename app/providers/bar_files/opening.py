"""Opening files of historical bars, whatever their layout."""

import re
from collections.abc import Sequence
from pathlib import Path

from app.errors import SourceError
from app.market.bars.candle import Granularity
from app.market.pair import CurrencyPair
from app.providers.bar_files.bid_ask import BidAskFiles
from app.providers.bar_files.file import BarFile
from app.providers.bar_files.reader import BarReader

_SIDE = re.compile(r"(?<![a-z])(bid|ask)(?![a-z])", re.IGNORECASE)


def open_bar_files(
    paths: Sequence[Path], *, pair: CurrencyPair | None = None, granularity: Granularity | None = None, source: str | None = None
) -> list[BarReader]:
    """Return a reader for each file, in the order given; two whose names differ only in ``bid`` and ``ask`` are read as one.

    The arguments are those of BarFile. Raises SourceError, naming the file, for one that cannot be read or has no known layout.
    """
    sides: dict[tuple[Path, str], dict[str, Path]] = {}
    for path in paths:
        found = _SIDE.findall(path.name)
        side = found[0].lower() if len(found) == 1 else ""
        sides.setdefault((path.parent, _SIDE.sub("*", path.name).lower() if side else path.name), {})[side] = path
    readers: list[BarReader] = []
    for files in sides.values():
        if "bid" in files and "ask" in files:
            readers.append(BidAskFiles(files["bid"], files["ask"], pair=pair, granularity=granularity, source=source))
            continue
        ((side, path),) = files.items()
        file = BarFile(path, pair=pair, granularity=granularity, source=source)
        if side and not file.has_sides:
            other = "asks" if side == "bid" else "bids"
            raise SourceError(f"{path} cannot be imported alone: the file of the {other} is needed as well")
        readers.append(file)
    return readers

"""Opening files of historical bars in any layout."""

from collections.abc import Sequence
from pathlib import Path

from app.errors import SourceError
from app.providers.bar_files.bid_ask import BidAskFiles
from app.providers.bar_files.file import BarFile
from app.providers.bar_files.options import Options
from app.providers.bar_files.reader import BarReader
from app.providers.bar_files.text.names import side_in_name, without_side

_ANY = Options()


def open_bar_files(paths: Sequence[Path], options: Options = _ANY) -> list[BarReader]:
    """Return a reader per file, in the order given; two files whose names differ only in ``bid`` and ``ask`` are read as one.

    Raises SourceError, naming the file and what to give, for one that cannot be read or recognised.
    """
    sides: dict[tuple[Path, str], dict[str, Path]] = {}
    for path in paths:
        side = side_in_name(path.name) or ""
        sides.setdefault((path.parent, without_side(path.name) if side else path.name), {})[side] = path
    readers: list[BarReader] = []
    for files in sides.values():
        if "bid" in files and "ask" in files:
            readers.append(BidAskFiles(files["bid"], files["ask"], options))
            continue
        ((side, path),) = files.items()
        file = BarFile(path, options, side=side or None)
        if side and not file.has_sides and not file.layout.alone:
            other = "asks" if side == "bid" else "bids"
            raise SourceError(f"{path} cannot be imported alone: the file of the {other} is needed with it")
        readers.append(file)
    return readers

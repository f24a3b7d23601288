"""Files of rows, plain or packed, and what their names say: the pair, the day."""

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from app.errors import InvalidPair, SourceError
from app.market.pair import CurrencyPair

_ENCODING = "utf-8-sig"
_PAIR = re.compile(r"[A-Za-z]{3}_?[A-Za-z]{3}(?![A-Za-z])")


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, of a file packed by gzip, or of the one file in a zip, with their ends.

    A byte-order mark is passed over, and what is not UTF-8 comes as U+FFFD. Raises SourceError, also on the way.
    """
    try:
        with _opened(path) as text:
            yield from text
    # A RuntimeError is what zipfile raises for a file under a password, or packed by a method it does not know.
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SourceError(f"{path} cannot be read: {reason}") from error


def pair_in_name(path: Path) -> CurrencyPair | None:
    """The pair that begins the file's name (``eurusd.zip``, ``gbpusd-m1-bid-2012.csv.gz``), or that is its folder's."""
    begins = _PAIR.match(path.name)
    for text in (begins[0] if begins else "", path.absolute().parent.name):
        try:
            return CurrencyPair.parse(text)
        except InvalidPair:
            continue
    return None


def day_in_name(path: Path) -> datetime | None:
    """Midnight UTC of the day that begins the file's name; None where it begins otherwise."""
    try:
        return datetime.fromisoformat(path.stem[:8]).replace(tzinfo=UTC)
    except ValueError:
        return None


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise SourceError(f"{path} cannot be read: it holds {len(names)} files, not one")
            with archive.open(names[0]) as packed, TextIOWrapper(packed, _ENCODING, "replace") as text:
                yield text
    elif path.suffix == ".gz":
        with gzip.open(path, "rt", encoding=_ENCODING, errors="replace") as text:
            yield text
    else:
        with path.open(encoding=_ENCODING, errors="replace") as text:
            yield text

"""Text files, plain or compressed, and what their names say: the pair, the day."""

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
    """Yield the lines, with their ends, of a text file, of a file compressed by gzip, or of the only file in a zip.

    A byte-order mark is skipped, and bytes that are not UTF-8 become U+FFFD. Raises SourceError, possibly after some lines.
    """
    try:
        with _opened(path) as text:
            yield from text
    # zipfile raises RuntimeError for an encrypted file, or one compressed by an unknown method.
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SourceError(f"{path} cannot be read: {reason}") from error


def pair_in_name(path: Path) -> CurrencyPair | None:
    """Return the pair that starts the file name (``eurusd.zip``, ``gbpusd-m1-bid-2012.csv.gz``) or that names its folder."""
    begins = _PAIR.match(path.name)
    for text in (begins[0] if begins else "", path.absolute().parent.name):
        try:
            return CurrencyPair.parse(text)
        except InvalidPair:
            continue
    return None


def day_in_name(path: Path) -> datetime | None:
    """Return midnight UTC of the day that the file name starts with, or None."""
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

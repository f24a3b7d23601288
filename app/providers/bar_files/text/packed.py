"""Plain, gzip and zip files, read in blocks of bytes."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.errors import SourceError

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_REPORTS = (".txt", ".htm", ".html", ".md", ".pdf")


class Unpacked:
    """The decompressed bytes of a file. ``fraction`` of the file has been read, from 0 to 1.

    It refers to compressed bytes for gzip, and to decompressed bytes for zip, whose directory has their number.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fraction = 0.0

    def blocks(self, size: int) -> Iterator[bytes]:
        """Yield the bytes in blocks. Raises SourceError, naming the file."""
        try:
            with _opened(self._path) as (unpacked, position, total):
                while block := unpacked.read(size):
                    self.fraction = min(position.tell() / total, 1.0) if total else 1.0
                    yield block
                self.fraction = 1.0
        # zipfile raises RuntimeError for an encrypted member, NotImplementedError for an unknown compression.
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise SourceError(f"{self._path} cannot be read: {reason}") from error


def name_inside(path: Path) -> str:
    """Return the name of the file inside a zip, or the file's own name. Raises SourceError."""
    try:
        if not _is_zip(path):
            return path.name
        with zipfile.ZipFile(path) as archive:
            return Path(_member(path, archive).filename).name
    except (OSError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SourceError(f"{path} cannot be read: {reason}") from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes], int]]:
    """Open the decompressed bytes, a stream whose position is the progress, and its end position."""
    if _is_zip(path):
        with zipfile.ZipFile(path) as archive:
            member = _member(path, archive)
            with archive.open(member) as unpacked:
                yield unpacked, unpacked, member.file_size
    else:
        with path.open("rb") as plain:
            size = path.stat().st_size
            packed = path.suffix == ".gz" or plain.peek(2)[:2] == _GZIP
            if packed:
                with gzip.GzipFile(fileobj=plain) as unpacked_by_gzip:
                    yield unpacked_by_gzip, plain, size  # type: ignore[misc] # a GzipFile is read like any other
            else:
                yield plain, plain, size


def _is_zip(path: Path) -> bool:
    if path.suffix.lower() == ".zip":
        return True
    with path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the only file, or the only one that is no text report, which HistData adds."""
    files = [member for member in archive.infolist() if not member.is_dir()]
    data = [member for member in files if not member.filename.lower().endswith(_REPORTS)]
    for candidates in (files, data):
        if len(candidates) == 1:
            return candidates[0]
    raise SourceError(f"{path} cannot be read: it holds {len(files)} files, not one")

"""A whole file into one frame."""

from collections.abc import Callable
from pathlib import Path

from app.errors import SourceError
from app.providers.bar_files.bars.frame import Frame, concatenated
from app.providers.bar_files.bars.rows import RowReader
from app.providers.bar_files.text.decoded import text_blocks

MOST_ROWS = 30_000_000
"""Rows of a file, which are sorted in memory: a hundred bytes each at most."""


def load(path: Path, reader: RowReader, reached: Callable[[float], None]) -> Frame:
    """All rows that can be used, in the order of the file. Raises SourceError, also for a file of too many rows."""
    frames, rows = [], 0
    for block in text_blocks(path, reached):
        frame = reader.read(block)
        rows += len(frame)
        if rows > MOST_ROWS:
            raise SourceError(f"{path} cannot be imported: it has more than {MOST_ROWS:,} rows; split it by months or years")
        frames.append(frame)
    return concatenated(frames) if frames else reader.read(b"")

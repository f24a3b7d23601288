"""Loading a whole file into one frame."""

from collections.abc import Callable
from pathlib import Path

from app.errors import SourceError
from app.providers.bar_files.bars.frame import Frame, concatenated
from app.providers.bar_files.bars.rows import RowReader
from app.providers.bar_files.text.decoded import text_blocks

MOST_ROWS = 30_000_000
"""Maximum rows of a file; they are sorted in memory, at up to 100 bytes each."""


def load(path: Path, reader: RowReader, reached: Callable[[float], None]) -> Frame:
    """Return all usable rows in file order. Raises SourceError, also for a file with too many rows."""
    frames, rows = [], 0
    for block in text_blocks(path, reached):
        frame = reader.read(block)
        rows += len(frame)
        if rows > MOST_ROWS:
            raise SourceError(f"{path} cannot be imported: it has more than {MOST_ROWS:,} rows; split it by months or years")
        frames.append(frame)
    return concatenated(frames) if frames else reader.read(b"")

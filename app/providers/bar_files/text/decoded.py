"""Files decoded to UTF-8, in blocks of whole lines."""

import codecs
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from app.errors import SourceError
from app.providers.bar_files.text.json_rows import MOST_BYTES, is_json, lines_of_json
from app.providers.bar_files.text.packed import Unpacked

LARGE_BLOCK, SMALL_BLOCK = 1 << 20, 1 << 14
"""Block sizes in bytes: large for speed, small when rows are consumed one by one."""

LONGEST_LINE = 1 << 20
"""Maximum bytes of a line."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def text_blocks(path: Path, reached: Callable[[float], None] = lambda fraction: None, size: int = LARGE_BLOCK) -> Iterator[bytes]:
    """Yield the lines of a file in blocks of UTF-8. Lines end with ``\\n``, except perhaps the last.

    UTF-8 with and without a byte-order mark and UTF-16 are recognised; candles in JSON are converted to a table with a header.
    ``reached`` is called with the fraction of the file read; ``size`` is the approximate size of a block. Raises SourceError.
    """
    unpacked = Unpacked(path)
    blocks = unpacked.blocks(size)
    first = next(blocks, b"")
    encoding, first = _encoding(first)
    if encoding == "utf-8" and is_json(first):
        whole = bytearray(first)
        for block in blocks:
            whole += block
            if len(whole) > MOST_BYTES:
                raise SourceError(f"{path} cannot be read: JSON of more than {MOST_BYTES >> 20} MB; split it")
        yield lines_of_json(path, bytes(whole))
        return
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)("replace")
    rest = b""
    for block in _and_then(first, blocks):
        text = block if decoder is None else decoder.decode(block).encode("utf-8", "replace")
        text = rest + text
        end = text.rfind(b"\n") + 1
        rest = text[end:]
        if len(rest) > LONGEST_LINE:
            raise SourceError(f"{path} cannot be read: a line of more than {LONGEST_LINE >> 20} MB, which no table has")
        if end:
            yield text[:end].replace(b"\r\n", b"\n")
            reached(unpacked.fraction)
    if rest:
        yield rest.rstrip(b"\r")
    reached(1.0)


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, without line ends. Raises SourceError.

    Text that is not UTF-8 is decoded as Windows-1252, which older programs use for headers.
    """
    for block in text_blocks(path, size=SMALL_BLOCK):
        yield from _decoded(block.removesuffix(b"\n")).split("\n")


def first_lines(path: Path, count: int) -> list[str]:
    """Return the first ``count`` lines of a file, or all if there are fewer. Raises SourceError."""
    return list(islice(read_lines(path), count))


def lines_at(path: Path, numbers: set[int]) -> dict[int, str]:
    """Return the lines with these numbers, counted from 1. Raises SourceError."""
    found: dict[int, str] = {}
    if not numbers:
        return found
    last = max(numbers)
    seen = 0
    for block in text_blocks(path):
        count = block.count(b"\n") + (not block.endswith(b"\n"))
        wanted = [number for number in numbers if seen < number <= seen + count]
        if wanted:
            lines = block.split(b"\n")
            found.update((number, _decoded(lines[number - seen - 1])) for number in wanted)
        seen += count
        if seen >= last:
            break
    return found


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace")


def _encoding(block: bytes) -> tuple[str, bytes]:
    """Detect the encoding from the first bytes, and return it with the bytes after the byte-order mark."""
    for mark, encoding in _BOMS:
        if block.startswith(mark):
            return encoding, block[len(mark) :]
    # ASCII in UTF-16 has a zero in every second byte.
    if len(block) >= 4 and block[1] == block[3] == 0 and block[0] and block[2]:
        return "utf-16-le", block
    return "utf-8", block


def _and_then(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others

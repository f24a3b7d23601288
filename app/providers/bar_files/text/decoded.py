"""Text as UTF-8 in blocks of whole lines, whatever the file's encoding."""

import codecs
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from app.errors import SourceError
from app.providers.bar_files.text.json_rows import MOST_BYTES, is_json, lines_of_json
from app.providers.bar_files.text.packed import Unpacked

LARGE_BLOCK, SMALL_BLOCK = 1 << 20, 1 << 14
"""Bytes read at once: many for speed, few where rows are wanted one by one."""

LONGEST_LINE = 1 << 20
"""Bytes of a line; a file with a longer one is no table."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def text_blocks(path: Path, reached: Callable[[float], None] = lambda fraction: None, size: int = LARGE_BLOCK) -> Iterator[bytes]:
    """The file's lines in blocks of UTF-8 that end where a line does, but for the last; line ends are ``\\n``.

    UTF-8 with and without a byte-order mark and UTF-16 are recognised, as are OANDA's candles in JSON, which come as a table
    with a header. ``reached`` is called with the share of the file read, ``size`` is about that of a block. Raises SourceError,
    also on the way.
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
    """The lines of a file, without their ends. Raises SourceError, also on the way.

    What is not UTF-8 is taken for Windows' Western code page, in which older programs write the headers of tables.
    """
    for block in text_blocks(path, size=SMALL_BLOCK):
        yield from _decoded(block.removesuffix(b"\n")).split("\n")


def first_lines(path: Path, count: int) -> list[str]:
    """The first ``count`` lines of a file, fewer where it has no more. Raises SourceError."""
    return list(islice(read_lines(path), count))


def lines_at(path: Path, numbers: set[int]) -> dict[int, str]:
    """The lines with these numbers, counted from 1. Raises SourceError."""
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
    """The encoding of a file by its first bytes, and those bytes without the byte-order mark."""
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

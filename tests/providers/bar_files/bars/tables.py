"""Tables that are made in a test."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from app.market.bars.candle import Candle
from app.market.clock import parse_time
from app.providers.bar_files.file import BarFile
from app.providers.bar_files.options import Options

ANY = Options()


def every(step: timedelta, first: str, last: str) -> list[datetime]:
    """Times from the first to the last, both included."""
    time, times = parse_time(first), []
    while time <= parse_time(last):
        times.append(time)
        time += step
    return times


def table(path: Path, rows: Iterable[str], header: str = "time,open,high,low,close") -> Path:
    """A file of these rows below a header."""
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def row(time: str, number: int = 0) -> str:
    """A bar that moves, other than that of another number."""
    price = 1.3 + number % 50 / 1000
    return f"{time},{price:.5f},{price + 0.002:.5f},{price - 0.002:.5f},{price + 0.001:.5f}"


def flat(time: str, price: str = "1.30000") -> str:
    """A bar that does not move."""
    return f"{time},{price},{price},{price},{price}"


def read(path: Path, options: Options = ANY) -> tuple[BarFile, list[Candle]]:
    """A file and its bars, once it is sure that every row is accounted for."""
    file = BarFile(path, options)
    bars = list(file.candles())
    assert file.rows == file.accepted + file.rejected.total()
    return file, bars

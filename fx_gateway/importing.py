"""Progress of imports in the terminal, and an account of every row."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.config import Settings
from app.market.blocks.block import BarBlock
from app.market.blocks.starts import moment_of
from app.market.clock import rfc3339
from app.market.pair import CurrencyPair, TrackedPairs
from app.providers.bar_files.opening import open_bar_files
from app.providers.bar_files.options import Options
from app.providers.bar_files.reader import BarReader
from app.sources import SOURCES
from app.storage.database.database import open_database
from app.storage.market.candles import Candles
from jobs.history import importing
from jobs.history.importing import Imported, import_bars

_SIDE_BY_SIDE = 2
_SHOWN = 5
_READING = 0.3
"""Reading's share of the progress bar; storing takes longer."""


async def import_files(settings: Settings, paths: Sequence[Path], options: Options, console: Console) -> bool:
    """Import files into the database of the settings, and show an account of every row; return False if no bar was usable.

    Raises SourceError for a file that cannot be read, DatabaseUnavailable and ConfigurationError.
    """
    readers = open_bar_files(paths, options)
    imported: dict[BarReader, Imported] = {}
    async with open_database(settings.database_address) as database:
        await database.migrate()
        candles, pairs = Candles(database, SOURCES), TrackedPairs(settings.tracked_pairs)
        with _progress(console) as progress:

            async def import_in_turn(some: Sequence[BarReader]) -> None:
                for reader in some:
                    task = progress.add_task(reader.title, total=1.0, speed="")
                    imported[reader] = await import_bars(reader, candles, pairs, _Shown(progress, task))

            # Files of different pairs are imported concurrently: one is read while the other is being written.
            by_pair: dict[CurrencyPair | None, list[BarReader]] = {}
            for reader in readers:
                by_pair.setdefault(None if any(other.pair is None for other in readers) else reader.pair, []).append(reader)
            await _at_most(_SIDE_BY_SIDE, [partial(import_in_turn, some) for some in by_pair.values()])
    for reader in readers:
        _show(imported[reader], console)
    return any(file.series for file in imported.values())


async def dry_run_of(paths: Sequence[Path], options: Options, console: Console) -> bool:
    """Read files, and show how rows are interpreted without storing anything; return False if no bar is usable.

    Raises SourceError.
    """
    found = False
    for reader in open_bar_files(paths, options):
        blocks = await asyncio.to_thread(reader.blocks)
        found |= bool(blocks)
        _heading(reader, "", console)
        for row in reader.preview(_SHOWN):
            prices = ", ".join(f"{_SIDES.get(side, side)} {price}" for side, price in row.prices.items())
            bar = "" if row.bar == row.time else f", in the bar of {_short(rfc3339(row.bar))}"
            console.print(f"  line {row.line}: {row.text[:80]}", highlight=False, markup=False, soft_wrap=True)
            console.print(f"    {row.pair} at {rfc3339(row.time)}{bar}: {prices}", highlight=False, markup=False, soft_wrap=True)
        table = _account(reader)
        for block in blocks:
            table.add_row(f"{len(block):,}", _series(block))
        _print(table, reader, console)
    console.print("Nothing was stored: this was a dry run.", highlight=False)
    return found


_SIDES = {"mid": "one price"}


class _Shown:
    """Updates the progress bar of a file: percentage, rows per second, and whether the database is being waited for."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._began = time.monotonic()

    def __call__(self, state: importing.Progress) -> None:
        seconds = max(time.monotonic() - self._began, 0.001)
        rows = state.rows * (state.stored or 1.0)
        doing = "waiting for the database" if state.waits else "storing" if state.read >= 1 else "reading"
        done = _READING * state.read + (1 - _READING) * state.stored
        self._progress.update(self._task, completed=done, speed=f"{state.rows:,} rows, {rows / seconds:,.0f} rows/s, {doing}")


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True)


async def _at_most(count: int, works: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Run all the works, at most ``count`` at a time. Raises the errors of those that fail, in an ExceptionGroup."""
    places = asyncio.Semaphore(count)

    async def do(work: Callable[[], Awaitable[None]]) -> None:
        async with places:
            await work()

    async with asyncio.TaskGroup() as tasks:
        for work in works:
            tasks.create_task(do(work))


def _show(file: Imported, console: Console) -> None:
    """Print the account of one file: every row is either in a bar or rejected."""
    reader = file.reader
    _heading(reader, ", ".join(f"{pair} {length}" for pair, length in file.series) if reader.pair is None else "", console)
    table = _account(reader)
    for pair, count in file.untracked.most_common():
        table.add_row(f"{count:,}", f"[yellow]bars not stored: {pair} is not tracked[/yellow]")
    table.add_row(f"{file.changed:,}", "bars new or changed")
    table.add_row(f"{file.larger:,}", "longer bars rebuilt from them")
    _print(table, reader, console)


def _heading(reader: BarReader, series: str, console: Console) -> None:
    console.print(f"[bold]{reader.title}[/bold]{'  ' if series else ''}{series}", highlight=False)


def _account(reader: BarReader) -> Table:
    """Return a table of rows read, accepted, and rejected by reason."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    table.add_row(f"{reader.rows:,}", "rows read")
    table.add_row(f"{reader.accepted:,}", "of them in bars")
    for reason, count in reader.rejected.most_common():
        table.add_row(f"{count:,}", f"[yellow]rejected: {reason}[/yellow]")
    return table


def _print(table: Table, reader: BarReader, console: Console) -> None:
    console.print(table)
    for note in reader.notes:
        console.print(f"  {note}", highlight=False, markup=False, soft_wrap=True)
    for example in reader.examples:
        console.print(f"  line {example.line}: {example.reason}: {example.text}", highlight=False, markup=False)


def _series(block: BarBlock) -> str:
    first, last = (_short(rfc3339(moment_of(time))) for time in (block.times[0], block.times[-1]))
    return f"{block.pair} {block.granularity} bars, from {first} to {last}"


def _short(time: str) -> str:
    """``2012-02-01T05:00Z``."""
    return f"{time[:16]}Z"

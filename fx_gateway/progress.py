"""Progress in the terminal of imports and backfills."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from app.config import Settings
from app.errors import NotOffered, SourceError
from app.market.bars.candle import Granularity
from app.market.clock import rfc3339
from app.market.pair import CurrencyPair, TrackedPairs
from app.providers.bar_files.opening import open_bar_files
from app.providers.bar_files.reader import BarReader
from app.sources import SOURCES
from app.storage.database.database import open_database
from app.storage.market.candles import Candles
from jobs.backfill import Backfill, Stretch
from jobs.history.importing import Imported, import_bars
from jobs.running.sources import open_history

_SIDE_BY_SIDE = 2


async def import_files(
    settings: Settings, paths: Sequence[Path], *, pair: CurrencyPair | None, granularity: Granularity | None, console: Console
) -> bool:
    """Import files into the database of the settings, and show an account of every row; return False if no bar was usable.

    Raises SourceError for a file that cannot be read, DatabaseUnavailable and ConfigurationError.
    """
    readers = open_bar_files(paths, pair=pair, granularity=granularity)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TextColumn("rows"), TimeElapsedColumn())
    imported: dict[BarReader, Imported] = {}
    async with open_database(settings.database_address) as database:
        await database.migrate()
        candles, pairs = Candles(database, SOURCES), TrackedPairs(settings.tracked_pairs)
        with Progress(*columns, console=console, transient=True) as progress:

            async def import_in_turn(some: Sequence[BarReader]) -> None:
                for reader in some:
                    task = progress.add_task(reader.title, total=None)
                    read = partial(_advance, progress, task)
                    imported[reader] = await import_bars(reader, candles, pairs, read)

            # Files of different pairs are imported concurrently: one is read while the other is being written.
            by_pair: dict[CurrencyPair | None, list[BarReader]] = {}
            for reader in readers:
                by_pair.setdefault(None if any(other.pair is None for other in readers) else reader.pair, []).append(reader)
            await _at_most(_SIDE_BY_SIDE, [partial(import_in_turn, some) for some in by_pair.values()])
    for reader in readers:
        _show(imported[reader], console)
    return any(file.series for file in imported.values())


async def _at_most(count: int, works: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Run all the works, at most ``count`` at a time. Raises the errors of those that fail, in an ExceptionGroup."""
    places = asyncio.Semaphore(count)

    async def do(work: Callable[[], Awaitable[None]]) -> None:
        async with places:
            await work()

    async with asyncio.TaskGroup() as tasks:
        for work in works:
            tasks.create_task(do(work))


def _advance(progress: Progress, task: TaskID, rows: int) -> None:
    progress.update(task, completed=rows)


def _show(file: Imported, console: Console) -> None:
    """Print the account of one file: every row is either in a bar or rejected."""
    reader = file.reader
    series = ", ".join(f"{pair} {length}" for pair, length in file.series) if reader.pair is None else ""
    console.print(f"[bold]{reader.title}[/bold]  {series}", highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    table.add_row(f"{reader.rows:,}", "rows read")
    table.add_row(f"{reader.accepted:,}", "of them in bars")
    for pair, count in file.untracked.most_common():
        table.add_row(f"{count:,}", f"[yellow]bars not stored: {pair} is not tracked[/yellow]")
    for reason, count in reader.rejected.most_common():
        table.add_row(f"{count:,}", f"[yellow]rejected: {reason}[/yellow]")
    table.add_row(f"{file.changed:,}", "bars new or changed")
    table.add_row(f"{file.larger:,}", "longer bars rebuilt from them")
    console.print(table)
    for example in reader.examples:
        console.print(f"  line {example.line}: {example.reason}: {example.text}", highlight=False, markup=False)


async def backfill(
    settings: Settings,
    *,
    pairs: Sequence[CurrencyPair],
    granularity: Granularity,
    start: datetime,
    end: datetime,
    console: Console,
) -> None:
    """Fetch bars of these pairs that start in ``[start, end)`` from the first source with history, and show the progress.

    A pair that the source does not offer is reported and skipped. Raises SourceError if no source has history, or the source
    offers none of the pairs or fails, DatabaseUnavailable and ConfigurationError. What was fetched by then is kept, and the
    same call resumes from there.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[up_to]}"),
    )
    async with open_database(settings.database_address) as database, open_history(settings) as history:
        if history is None:
            raise SourceError(f"SOURCE: {', '.join(settings.source)} has no history to fetch; oanda, kraken and ecb have")
        await database.migrate()
        work = Backfill(history, database)
        skipped: list[NotOffered] = []
        with Progress(*columns, console=console) as progress:
            for pair in pairs:
                task = progress.add_task(f"{pair} {granularity}", total=(end - start).total_seconds(), up_to="")

                def reached(moment: datetime, task=task) -> None:  # type: ignore[no-untyped-def]
                    progress.update(task, completed=(moment - start).total_seconds(), up_to=rfc3339(moment)[:16])

                try:
                    changed = await work.run(Stretch(pair, granularity, start, end), reached)
                except NotOffered as error:
                    skipped.append(error)
                    progress.remove_task(task)
                else:
                    progress.update(task, up_to=f"{changed:,} bars new or changed")
        if skipped and len(skipped) == len(pairs):
            raise skipped[0]
        for missing in skipped:
            console.print(f"[yellow]skipped:[/yellow] {escape(str(missing))}", highlight=False, soft_wrap=True)

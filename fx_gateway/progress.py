"""Progress of backfills in the terminal."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from app.config import Settings
from app.errors import NotOffered, SourceError
from app.market.bars.candle import Granularity
from app.market.clock import rfc3339
from app.market.pair import CurrencyPair
from app.storage.database.database import open_database
from jobs.backfill import Backfill, Stretch
from jobs.running.sources import open_history


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

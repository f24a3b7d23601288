"""The retention job: deletes old rows once a day, and writes the sessions of the market."""

import logging
import sys
from datetime import datetime, timedelta

from app.market.hours.session import SESSIONS
from app.schedule import RETENTION
from app.storage.market.sessions import MarketSessions
from app.storage.retention import Retention
from jobs.running.context import JobContext
from jobs.running.once import run_once
from jobs.running.report import JobReport, recorded

_logger = logging.getLogger(__name__)


async def run_retention(context: JobContext, now: datetime) -> JobReport:
    """Delete rows older than the retention settings allow; report their number. Raises DatabaseUnavailable."""
    return await recorded(context.database, RETENTION, now, lambda: _run(context, now))


async def _run(context: JobContext, now: datetime) -> JobReport:
    long = timedelta(days=context.settings.event_retention_days)
    retention = Retention(
        context.database,
        ticks=timedelta(hours=context.settings.tick_retention_hours),
        events=long,
        alerts=long,
        job_runs=long,
        metrics=long,
        correlations=long,
    )
    deleted = await retention.run(now)
    await MarketSessions(context.database).write(SESSIONS)
    _logger.info("deleted %s", ", ".join(f"{count} {table}" for table, count in deleted.items() if count) or "nothing")
    return JobReport(sum(deleted.values()))


if __name__ == "__main__":
    sys.exit(run_once(RETENTION, run_retention))

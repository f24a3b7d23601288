"""A scheduled job, and a run of it in a program that goes on."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime

from app.errors import ConfigurationError, DatabaseUnavailable, LogUnavailable
from app.schedule import DueTimes
from jobs.running.context import JobContext
from jobs.running.once import Job

_LONGEST_RUN = 50 * 60.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A job, the name its runs are recorded under, and when it is due."""

    name: str
    run: Job
    due: DueTimes

    async def run_at(self, context: JobContext, now: datetime) -> None:
        """Run the job once, with ``now``, aware UTC, for the present.

        Raises DatabaseUnavailable, LogUnavailable and ConfigurationError; other errors are logged.
        """
        try:
            async with asyncio.timeout(_LONGEST_RUN):
                report = await self.run(context, now)
        except (DatabaseUnavailable, LogUnavailable, ConfigurationError):
            raise
        except Exception:
            _logger.exception("job %s failed", self.name)
        else:
            _logger.log(logging.INFO if report.status == "success" else logging.WARNING, "job %s: %s", self.name, report)

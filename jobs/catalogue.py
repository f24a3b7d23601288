"""The scheduled jobs by name."""

from collections.abc import Mapping
from types import MappingProxyType

from app.schedule import DAILY_CORRELATION, HOURLY, RETENTION
from jobs import daily_correlation_job, hourly_job, retention
from jobs.running.once import Job

JOBS: Mapping[str, Job] = MappingProxyType(
    {
        HOURLY: hourly_job.run_hourly,
        DAILY_CORRELATION: daily_correlation_job.run_daily_correlation,
        RETENTION: retention.run_retention,
    }
)
"""Jobs due at the same time run in this order: the daily job reads what the hourly one has fetched."""

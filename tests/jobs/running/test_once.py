import asyncio
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from app.config import Settings, load_settings
from app.storage.database.database import open_database
from app.storage.job_runs import JobRun, JobRuns
from jobs.catalogue import JOBS
from jobs.running.context import JobContext
from jobs.running.once import run_once
from jobs.running.report import JobReport
from tests.project import PROJECT

_MODULES = {"hourly": "jobs.hourly_job", "daily-correlation": "jobs.daily_correlation_job", "retention": "jobs.retention"}


@pytest.fixture
def settings(sqlite_url: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Settings of a gateway without any data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    return load_settings()


def _runs(url: str) -> list[JobRun]:
    async def newest() -> list[JobRun]:
        async with open_database(url) as database:
            return await JobRuns(database).newest(10)

    return asyncio.run(newest())


@pytest.mark.parametrize("name", list(JOBS))
def test_every_job_is_a_program_that_runs_once(name: str, settings: Settings) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", _MODULES[name]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{name}: success, 0 records\n"), done.stderr
    assert [(run.job, run.status) for run in _runs(settings.database_address)] == [(name, "success")]


@pytest.mark.parametrize(
    ("report", "code", "line"),
    [
        (JobReport(3), 0, "job: success, 3 records\n"),
        (JobReport(3, ("EUR_USD: no bars",)), 0, "job: partial, 3 records: EUR_USD: no bars\n"),
        (
            JobReport(0, ("EUR_USD: no bars", "GBP_USD: no bars")),
            1,
            "job: failed, 0 records: EUR_USD: no bars; GBP_USD: no bars\n",
        ),
    ],
    ids=["success", "partial", "failed"],
)
def test_the_exit_code_says_whether_anything_was_done(
    settings: Settings, capsys: pytest.CaptureFixture[str], report: JobReport, code: int, line: str
) -> None:
    async def job(context: JobContext, now: datetime) -> JobReport:
        return report

    assert run_once("job", job, settings) == code
    assert capsys.readouterr().out == line


def test_a_run_that_is_stopped_did_not_do_what_it_was_for(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    async def job(context: JobContext, now: datetime) -> JobReport:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
        return JobReport(1)

    assert run_once("job", job) == 1
    assert capsys.readouterr().err.endswith("job: stopped\n")


@pytest.mark.parametrize(
    ("variable", "value", "code", "message"),
    [
        ("REDIS_URL", None, 2, "hourly: REDIS_URL: a process of its own needs the Redis of its gateway"),
        ("TRACKED_PAIRS", "EURO", 2, "hourly: TRACKED_PAIRS: Invalid instrument"),
        ("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none", 1, "hourly: The database does not answer"),
    ],
    ids=["no Redis", "wrong setting", "no database"],
)
def test_what_cannot_work_is_said_in_a_line(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str | None,
    code: int,
    message: str,
) -> None:
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    assert run_once("hourly", JOBS["hourly"]) == code
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_a_long_error_is_cut() -> None:
    report = JobReport(1, tuple(f"EUR_USD: problem {number}" for number in range(100)))
    assert report.error is not None
    assert len(report.error) == 500
    assert report.error.endswith("…")
    assert JobReport(1).error is None

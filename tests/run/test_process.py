import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings, load_settings
from app.errors import ConfigurationError, SourceError
from app.run.process import WRONG_SETTING, configure_logging, named_redis, run_job, run_process
from jobs import pubsub_bridge
from tests.project import PROJECT

_QUIETED = ("app.realtime.protocol", "uvicorn", "httpx", "httpcore", "asyncio", "aiosqlite", "sse_starlette")

_PROGRAM = """
import asyncio, logging, sys
from app.run.process import run_job

async def job(settings, redis):
    logging.getLogger("job").info("on %s", redis)
    logging.getLogger("httpx").info("chatter")
    print("running", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        print("cleaned up", flush=True)

sys.exit(run_job("job", job))
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The environment of a job: a Redis, and no settings from elsewhere."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", "redis://localhost:1")
    return monkeypatch


@pytest.fixture(autouse=True)
def _levels_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _QUIETED]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


# --------------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_job_once_it_has_cleaned_up(environment: pytest.MonkeyPatch, number: signal.Signals) -> None:
    with start(_PROGRAM) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output == "cleaned up\n"
    assert errors.endswith("INFO job: on redis://localhost:1\n")
    assert errors.count("\n") == 1


def test_a_job_with_a_wrong_setting_ends_with_one_line_and_code_2(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REDIS_PORT", "many")
    with start(_PROGRAM) as process:
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert output == ""
    assert errors == "job: REDIS_PORT: Input should be a valid integer, unable to parse string as an integer\n"


def start(program: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# ------------------------------------------------------------------ exit codes

Job = Callable[[Settings, str], Coroutine[Any, Any, None]]


async def _nothing(settings: Settings, redis: str) -> None: ...


def test_a_job_that_ends_by_itself_ends_well(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[int, str]] = []

    async def job(settings: Settings, redis: str) -> None:
        seen.append((settings.event_log_length, redis))

    environment.setenv("EVENT_LOG_LENGTH", "5000")
    assert run_job("job", job) == 0
    assert seen == [(5000, "redis://localhost:1")]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_stopped_ends_well(environment: pytest.MonkeyPatch, number: signal.Signals) -> None:
    cleaned = []

    async def job(settings: Settings, redis: str) -> None:
        signal.raise_signal(number)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    assert run_job("job", job) == 0
    assert cleaned == [True]


@pytest.mark.parametrize("error", [ConfigurationError, SourceError])
def test_what_a_job_cannot_work_with_is_one_line_and_code_2(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[Exception]
) -> None:
    async def job(settings: Settings, redis: str) -> None:
        raise error("this cannot work")

    assert run_job("job", job) == WRONG_SETTING == 2
    assert capsys.readouterr() == ("", "job: this cannot work\n")


def test_a_fault_of_a_job_is_not_hidden(environment: pytest.MonkeyPatch) -> None:
    async def job(settings: Settings, redis: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_job("job", job)


def test_a_job_needs_a_redis_that_is_named(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    environment.delenv("REDIS_URL")
    assert run_job("job", _nothing) == 2
    assert capsys.readouterr().err == (
        "job: REDIS_URL: a process of its own needs the Redis of its gateway, as a URL or in parts\n"
    )


def test_a_url_that_is_none_of_redis_is_one_line_without_its_password(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("REDIS_URL", "redis://:s3cret@localhost:port")
    assert run_job("bridge", pubsub_bridge.run) == 2
    assert capsys.readouterr().err == ("bridge: REDIS_URL: not a URL of Redis: redis://, rediss:// or unix:// is needed\n")


def test_a_redis_may_be_named_in_parts(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("REDIS_URL")
    environment.setenv("REDIS_HOST", "redis")
    assert named_redis(load_settings()) == "redis://redis:6379/0"


def test_work_that_is_cancelled_from_inside_has_ended(environment: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    run_process(work(), load_settings())


# --------------------------------------------------------------------- logging


def test_other_libraries_say_only_what_matters(environment: pytest.MonkeyPatch) -> None:
    configure_logging(load_settings())
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
    assert logging.getLogger("httpx").isEnabledFor(logging.WARNING)
    assert not logging.getLogger("app.realtime.protocol").isEnabledFor(logging.ERROR)


def test_a_line_has_time_level_and_origin(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LOG_LEVEL", "warning")
    program = "import logging; from app.run.process import *; configure_logging(load_settings()); "
    with start(program + "logging.getLogger('a.b').info('not this'); logging.getLogger('a.b').warning('this')") as process:
        _, errors = process.communicate(timeout=30)
    [line] = errors.splitlines()
    assert line.endswith(" WARNING a.b: this")
    assert line[:4].isdigit()

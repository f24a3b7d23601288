"""Tests that are interrupted or killed leave no process behind."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.project import PROJECT
from tests.waiting import wait_until
from tests.watchdog import MARK, marked

_HANGING = """
import asyncio, os
from contextlib import suppress
from pathlib import Path
from tests.gateways import command
from tests.postgres import postgres_server, postgres_url

async def test_hangs(valkey_url, postgres_url, tmp_path):
    async with command("run", "--port", "0", "--workers", "2", cwd=tmp_path, DATABASE_URL=postgres_url) as gateway:
        await gateway.ready_url()
        Path("ready").write_text(os.environ["FX_TESTS"])
        await asyncio.Event().wait()
"""

_CONFTEST = "from tests.conftest import pytest_configure, valkey, valkey_url"
_OPTIONS = ["-c", str(PROJECT / "pyproject.toml"), "--rootdir", ".", "-p", "no:cacheprovider", "test_hanging.py"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_tests_that_end_leave_no_process(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(_CONFTEST)
    (tmp_path / "test_hanging.py").write_text(_HANGING)
    tests = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", *_OPTIONS,
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(PROJECT)}, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    ready = tmp_path / "ready"
    try:
        await wait_until(lambda: tests.returncode is not None or (ready.exists() and ready.read_text() != ""), "they run", 60)
        mark = ready.read_text()
        started = {*map(psutil.Process, marked(mark)), *psutil.Process(tests.pid).children(recursive=True)}
        names = {"".join(filter(str.isalpha, process.name().partition("-")[0])) for process in started}
        assert names >= {"postgres", "python", "valkey"}
    finally:
        tests.send_signal(number)
        await tests.wait()
    await wait_until(lambda: not any(map(_runs, started)), lambda: f"all has ended but {list(filter(_runs, started))}")


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


async def test_what_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(1000)"
    mark = f"{os.getpid()}-stubborn"
    folder = tmp_path / f"fx-{mark}-data"
    folder.mkdir()
    stubborn = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env={MARK: mark}, stdout=asyncio.subprocess.PIPE
    )
    assert stubborn.stdout is not None
    await stubborn.stdout.readline()
    watchdog = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(PROJECT / "tests" / "watchdog.py"), mark,
        env={"TMPDIR": str(tmp_path)}, stdin=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await watchdog.communicate(b"")
    assert await stubborn.wait() == -signal.SIGKILL
    assert not folder.exists()

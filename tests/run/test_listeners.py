"""The addresses that a gateway listens on."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from app.errors import ConfigurationError
from app.run.listeners import listen, urls_of
from tests.databases import on_postgres, put_sqlite
from tests.gateways import new_command

LOOPBACKS = ("127.0.0.1", "::1")


def has_ipv6() -> bool:
    """Whether this machine has an address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as connection:
            connection.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes sockets after the test."""
    with ExitStack() as stack:
        yield stack


def listening(opened: ExitStack, hosts: Sequence[str], port: int = 0, workers: int = 1) -> list[list[socket.socket]]:
    """Listen, until the test ends."""
    listeners = listen(hosts, port, workers)
    for of_worker in listeners:
        for listener in of_worker:
            opened.enter_context(listener)
    return listeners


def reaches(host: str, port: int) -> bool:
    """Whether a client gets a connection."""
    try:
        socket.create_connection((host, port)).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("workers", [1, 3])
def test_each_worker_has_a_socket_on_each_host(workers: int, opened: ExitStack) -> None:
    listeners = listening(opened, ["127.0.0.1", "127.0.0.2"], workers=workers)
    [port] = {listener.getsockname()[1] for of_worker in listeners for listener in of_worker}
    assert [urls_of(of_worker) for of_worker in listeners] == [[f"http://127.0.0.1:{port}", f"http://127.0.0.2:{port}"]] * workers
    assert reaches("127.0.0.1", port)
    assert reaches("127.0.0.2", port)
    assert not reaches("127.0.0.3", port)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_address_that_fails_is_named(workers: int, opened: ExitStack) -> None:
    [[taken]] = listening(opened, ["127.0.0.2"])
    port = taken.getsockname()[1]
    with pytest.raises(ConfigurationError, match=rf"^cannot listen on 127\.0\.0\.2:{port}: Address already in use$"):
        listen(["127.0.0.1", "127.0.0.2"], port, workers)
    assert not reaches("127.0.0.1", port), "those before it are closed"
    for host, shown in (
        ("2001:db8::1", r"\[2001:db8::1\]"),
        ("192.0.2.1", "192.0.2.1"),
        ("no.such.host.invalid", "no.such.host.invalid"),
    ):
        with pytest.raises(ConfigurationError, match=rf"^cannot listen on {shown}:{port}: [A-Z]"):
            listen(["127.0.0.1", host], port, workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_addresses_of_ipv6_are_those_of_ipv4_too(workers: int, opened: ExitStack) -> None:
    if not has_ipv6():
        with pytest.raises(ConfigurationError, match=r"^cannot listen on \[::\]:0: "):
            listen(["::"], 0, workers)
        return
    for host in ("::", "[::]"):
        listeners = listening(opened, [host], workers=workers)
        port = listeners[0][0].getsockname()[1]
        assert urls_of(listeners[0]) == [f"http://[::]:{port}"]
        assert all(reaches(loopback, port) for loopback in LOOPBACKS)
    listeners = listening(opened, ["::1"], workers=workers)
    assert [reaches(host, listeners[0][0].getsockname()[1]) for host in LOOPBACKS] == [False, True]
    both = listening(opened, ["::", "0.0.0.0"], workers=workers)
    assert all(reaches(loopback, both[0][0].getsockname()[1]) for loopback in LOOPBACKS)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_command_serves_every_host_and_names_them(workers: str, valkey_url: str, tmp_path: Path) -> None:
    hosts = ["127.0.0.2", "::1"] if has_ipv6() else ["127.0.0.2", "127.0.0.3"]
    if not on_postgres():
        await put_sqlite(tmp_path / "data" / "gateway.db")
    options = ["--port", "0", "--workers", workers, *(f"--host={host}" for host in hosts)]
    async with new_command("gateway", *options, cwd=tmp_path, REDIS_URL=valkey_url, SHUTDOWN_TIMEOUT="1") as process:
        first = await process.ready_url()
        port = first.rpartition(":")[2]
        urls = [f"http://{f'[{host}]' if ':' in host else host}:{port}" for host in hosts]
        assert f"Ready on {', '.join(urls)}, stop with Ctrl+C" in process.output
        async with httpx.AsyncClient(trust_env=False) as http:
            for url in urls:
                assert (await http.get(f"{url}/health/live")).status_code == 200


async def test_a_client_of_ipv4_keeps_its_address_on_a_socket_of_both(valkey_url: str, tmp_path: Path) -> None:
    """So trusted proxies may be named by it."""
    if not has_ipv6():
        return
    if not on_postgres():
        await put_sqlite(tmp_path / "data" / "gateway.db")
    settings = {"REDIS_URL": valkey_url, "WEBSOCKET_HOST": "::", "LOG_LEVEL": "warning", "SHUTDOWN_TIMEOUT": "1"}
    async with new_command("gateway", "--port", "0", cwd=tmp_path, **settings) as process:
        port = int((await process.ready_url()).rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"nonsense\r\n\r\n")
            client.recv(1000)
        await process.stop()
    [line] = [line for line in process.output if "WARNING" in line]
    assert line.endswith("WARNING app.realtime.wire.connection: a request is refused: "
                         "400 Invalid HTTP request: Invalid method encountered (from 127.0.0.1)")  # fmt: skip

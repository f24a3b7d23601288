"""A line between one client and a gateway."""

import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum

from tests.lines import netem, tun
from tests.lines.namespace import Namespace
from tests.lines.netem import paired
from tests.lines.proxy import throttled
from tests.lines.shape import Shape
from tests.lines.tun import tunnelled


class Kind(StrEnum):
    """How lines are made."""

    NETEM = "netem"
    """Packets between two network namespaces, delayed by ``tc netem``. Lines that stall or vanish are as the next ones."""
    TUN = "tun"
    """Packets between two network namespaces, carried by this process from one TUN device to another."""
    PROXY = "proxy"
    """The bytes of a TCP connection, read no faster than the line carries them."""

    @classmethod
    def best(cls) -> "Kind":
        """The most real one that this machine allows. In namespaces, this process is in one of its own from here on."""
        if sys.platform == "linux":
            with suppress(OSError):
                own = Namespace()
                with own.entered():
                    kind = (cls.NETEM if netem.is_there() else cls.TUN) if tun.is_there() else cls.PROXY
                if kind is not cls.PROXY:
                    own.enter()
                own.close()
                return kind
        return cls.PROXY


@dataclass(frozen=True)
class Line:
    """The client's end of a line."""

    url: str
    """Where the client finds the gateway."""
    new_socket: Callable[..., socket.socket]
    """Makes a socket for an entry of ``getaddrinfo`` that uses the line."""
    enter: Callable[[], None]
    """Has the process that calls it use the line, as ``preexec_fn`` of a program."""
    vanish: Callable[[], None]
    """Let nothing pass from now on."""
    began: float = field(default_factory=time.time)
    """When it came up, in seconds since 1970."""


@asynccontextmanager
async def line(kind: Kind, shape: Shape, number: int, port: int) -> AsyncGenerator[Line]:
    """A line of this shape to a gateway that listens on this port; ``number``, from 1 to 255, is that of no other line."""
    if kind is Kind.NETEM and not (shape.stall or shape.vanishes):
        with paired(shape, number) as pair:
            yield Line(f"http://{pair.gateway}:{port}", pair.new_socket, pair.enter, _nothing)
    elif kind in (Kind.NETEM, Kind.TUN):
        with tunnelled(shape, number) as tunnel:
            yield Line(f"http://{tunnel.gateway}:{port}", tunnel.new_socket, tunnel.enter, tunnel.vanish)
    else:
        async with throttled(shape, port) as proxy:
            yield Line(f"http://127.0.0.1:{proxy.port}", _new_socket, _nothing, proxy.vanish)


def _new_socket(address: tuple[int, int, int, str, object]) -> socket.socket:
    return socket.socket(*address[:3])


def _nothing() -> None:
    """Every process can use a proxy."""

"""A line between two network namespaces: this process carries each packet from one TUN device to the other.

It does what ``tc netem`` does with a rate, a delay and a loss, and holds a thousand packets as that does, but it needs no module
of the kernel, and it can stall and vanish. ``linux/if_tun.h`` has the ioctl.
"""

import asyncio
import fcntl
import os
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from tests.lines.namespace import Namespace, configure
from tests.lines.shape import Shape

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_LONGEST = 65_536
_MOST_PACKETS = 1000
_MOST_AT_ONCE = 64


def is_there() -> bool:
    """Return whether this machine allows it; call this in a namespace of this process's own."""
    try:
        os.close(_device("probe", "198.18.0.1", "198.18.0.2"))
    except OSError:
        return False
    return True


class Direction:
    """What carries the packets one way."""

    def __init__(self, shape: Shape, source: int, target: int, chance: random.Random) -> None:
        self._shape = shape
        self._source = source
        self._target = target
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._began = self._busy_until = self._loop.time()
        self._on_the_way = 0
        self.vanished = False
        self._loop.add_reader(source, self._read)

    def stop(self) -> None:
        """Carry nothing more."""
        self.vanished = True
        self._loop.remove_reader(self._source)

    def _read(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                packet = os.read(self._source, _LONGEST)
            except BlockingIOError:
                return
            self._carry(packet)

    def _carry(self, packet: bytes) -> None:
        shape = self._shape
        if self.vanished or self._on_the_way >= _MOST_PACKETS or self._chance.random() < shape.loss:
            return
        begins = max(self._loop.time(), self._busy_until) - self._began
        ends = shape.after_stall(begins) + (len(packet) / shape.rate if shape.rate else 0)
        self._busy_until = self._began + ends
        self._on_the_way += 1
        self._loop.call_at(self._busy_until + shape.delay, self._arrive, packet)

    def _arrive(self, packet: bytes) -> None:
        self._on_the_way -= 1
        if not self.vanished:
            with suppress(OSError):  # what the kernel has no room for is lost
                os.write(self._target, packet)


class Tunnel:
    """Such a line."""

    def __init__(self, shape: Shape, number: int, client: Namespace) -> None:
        self.gateway, own = f"198.18.{number}.1", f"198.18.{number}.2"
        self._client = client
        here = _device(f"line{number}", self.gateway, own)
        with client.entered():
            there = _device("line", own, self.gateway)
        self._ends = (here, there)
        chance = random.Random(number)
        self._directions = (
            Direction(shape, here, there, chance),
            Direction(replace(shape, delay=0, loss=0), there, here, chance),
        )

    def new_socket(self, address: tuple[int, int, int, str, object]) -> socket.socket:
        """Make a socket of the client's."""
        with self._client.entered():
            return socket.socket(*address[:3])

    def enter(self) -> None:
        """Move this process to where the client is."""
        self._client.enter()

    def vanish(self) -> None:
        """Let nothing pass from now on."""
        for direction in self._directions:
            direction.vanished = True

    def close(self) -> None:
        """Take the line down."""
        for direction in self._directions:
            direction.stop()
        for end in self._ends:
            os.close(end)


@contextmanager
def tunnelled(shape: Shape, number: int) -> Iterator[Tunnel]:
    """A line from this namespace to a new one; its addresses are of the network for benchmarks, RFC 2544."""
    client = Namespace()
    try:
        tunnel = Tunnel(shape, number, client)
        try:
            yield tunnel
        finally:
            tunnel.close()
    finally:
        client.close()


def _device(name: str, own: str, peer: str) -> int:
    """Make a TUN device in the namespace of this thread, and return its file; the device is gone when that is closed."""
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
        configure(f"address add {own} peer {peer} dev {name}", f"link set {name} up")
    except OSError:
        os.close(file)
        raise
    return file

"""A line between two network namespaces, delayed by the kernel: a veth pair with ``tc netem``, see tc-netem(8)."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.lines.namespace import Namespace, configure
from tests.lines.shape import Shape

_PROBED = "lo"


def is_there() -> bool:
    """Return whether the kernel has it; call this in a namespace of this process's own."""
    try:
        _shape(_PROBED, Shape("", rate=1_000, delay=0.3, loss=0.01))
        subprocess.run(["tc", "qdisc", "del", "dev", _PROBED, "root"], capture_output=True)
    except OSError:
        return False
    return True


class Pair:
    """Such a line."""

    def __init__(self, shape: Shape, number: int, client: Namespace) -> None:
        self.gateway, own = f"198.18.{number}.1", f"198.18.{number}.2"
        self._client = client
        here, there = f"line{number}", f"far{number}"
        # Without segmentation offload, or netem would delay many segments as one packet.
        configure(
            f"link add {here} gso_max_segs 1 type veth peer name {there} gso_max_segs 1",
            f"link set {there} netns {client.path}",
            f"address add {self.gateway} peer {own} dev {here}",
            f"link set {here} up",
        )
        _shape(here, shape)
        with client.entered():
            configure(f"address add {own} peer {self.gateway} dev {there}", f"link set {there} up")
            _shape(there, replace(shape, delay=0, loss=0))

    def new_socket(self, address: tuple[int, int, int, str, object]) -> socket.socket:
        """Make a socket of the client's."""
        with self._client.entered():
            return socket.socket(*address[:3])

    def enter(self) -> None:
        """Move this process to where the client is."""
        self._client.enter()


@contextmanager
def paired(shape: Shape, number: int) -> Iterator[Pair]:
    """A line from this namespace to a new one, of a shape that does not stall; its addresses are those of RFC 2544."""
    client = Namespace()
    try:
        yield Pair(shape, number, client)
    finally:
        client.close()  # and with the namespace, the pair


def _shape(device: str, shape: Shape) -> None:
    words = ["limit", "1000"]
    if shape.rate is not None:
        words += ["rate", f"{shape.rate * 8:.0f}bit"]
    if shape.delay:
        words += ["delay", f"{shape.delay * 1000:.0f}ms"]
    if shape.loss:
        words += ["loss", f"{shape.loss * 100:g}%"]
    done = subprocess.run(["tc", "qdisc", "replace", "dev", device, "root", "netem", *words], text=True, capture_output=True)
    if done.returncode:
        raise OSError(f"tc: {done.stderr.strip()}")

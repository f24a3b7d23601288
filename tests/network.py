"""A network of its own for clients that vanish: a network namespace behind a virtual cable, where the machine allows it."""

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET, see setns(2)
_NAMESPACES = Path("/run/netns")


class Network:
    """A namespace with one cable to this one. ``host`` is the address of this end, as clients in the namespace see it."""

    def __init__(self, name: str, host: str) -> None:
        self.host = host
        self._name = name

    def socket(self) -> socket.socket:
        """Return a new socket inside the namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/self/ns/net") as here, open(_NAMESPACES / self._name) as there:
            if libc.setns(there.fileno(), _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return socket.socket()
            finally:
                if libc.setns(here.fileno(), _NEW_NETWORK):
                    os.abort()  # nothing of this process may go on in the wrong network

    def vanish(self) -> None:
        """Let nothing come back from the namespace any more, neither an acknowledgement nor a reset."""
        _ip("-n", self._name, "route", "add", "blackhole", f"{self.host}/32")

    def thin(self, bytes_a_second: int) -> None:
        """Let the cable carry so many bytes a second into the namespace, headers included."""
        rate, device = f"{bytes_a_second * 8}bit", f"{self._name}a"
        _run("tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", rate, "burst", "1600", "limit", "60000")


@contextmanager
def network() -> Iterator[Network | None]:
    """A network for the time of the context; None where the machine does not allow one."""
    number = os.getpid() % 16384
    name, subnet = f"fx{number}", f"10.231.{number // 64}.{number % 64 * 4}"
    first, second = (f"{subnet.rpartition('.')[0]}.{number % 64 * 4 + end}" for end in (1, 2))
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        _ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        _ip("address", "add", f"{first}/30", "dev", f"{name}a")
        _ip("link", "set", f"{name}a", "up")
        _ip("-n", name, "address", "add", f"{second}/30", "dev", f"{name}b")
        _ip("-n", name, "link", "set", f"{name}b", "up")
        yield Network(name, first)
    finally:
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)

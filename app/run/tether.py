"""Run a program that ends with the process that started it: ``python tether.py PARENT PROGRAM ARGUMENT...``.

The kernel sends SIGTERM when the thread that started this process is gone, whatever ended it, also ``kill -9`` (``prctl(2)``,
``PR_SET_PDEATHSIG``; the setting outlasts ``execve``). A program of its own rather than a ``preexec_fn``, which is not safe in a
process with threads. Where there is no ``prctl`` the program simply runs. Imports nothing but the standard library, and starts
without ``site``, so as to cost little.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def main(parent: int, program: list[str]) -> None:
    """Become the program, unless the parent has ended already."""
    with suppress(AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # or it ended before prctl was called
        os.execv(program[0], program)  # noqa: S606 - our own words, for which no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

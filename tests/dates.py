"""Run the tests that read a clock with the clock on days of every kind: ``python -m tests.dates [PYTEST ARGUMENT...]``.

A library that ``cc`` makes of ``shifted_clock.c`` sets the clock of every process; it goes on from there. The processes believe
that they are in New York, where the hours of the market come from.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.project import PROJECT

MOMENTS: Mapping[str, datetime] = {
    "a Tuesday": datetime(2027, 1, 12, 12, 0, tzinfo=UTC),
    "a Saturday": datetime(2027, 1, 16, 12, 0, tzinfo=UTC),
    "25 December": datetime(2026, 12, 25, 12, 0, tzinfo=UTC),
    "31 December, 23:59": datetime(2026, 12, 31, 23, 59, tzinfo=UTC),
    "the hour before summer time": datetime(2027, 3, 14, 6, 30, tzinfo=UTC),
    "the first hour of summer time": datetime(2027, 3, 14, 7, 30, tzinfo=UTC),
    "the last hour of summer time": datetime(2027, 11, 7, 5, 30, tzinfo=UTC),
    "the hour after summer time": datetime(2027, 11, 7, 6, 30, tzinfo=UTC),
}
"""By name. All are later than the rates and bars that tests read from files: what is to come has no history."""

_FOLDERS = (
    "tests/test_trading_days.py", "tests/market", "tests/jobs", "tests/alerts", "tests/storage", "tests/routers",
    "tests/realtime/monitoring", "tests/realtime/contract", "tests/providers", "tests/end_to_end", "tests/pages",
)  # fmt: skip
"""The tests that read the clock, or run processes that do."""


def _environment(library: Path, moment: datetime, folder: str) -> dict[str, str]:
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FX_TESTS_SHIFT": f"{(moment - datetime.now(UTC)).total_seconds():.0f}",
        "TZ": "America/New_York",
        # In pytest's usual folder it would take the files of tests that run beside it for old ones, and remove them.
        "PYTEST_DEBUG_TEMPROOT": folder,
    }


def main(arguments: list[str]) -> int:
    """Run the tests once for each moment, and give 0 where all pass."""
    with TemporaryDirectory(prefix="fx-") as folder:
        library = Path(folder) / "shifted_clock.so"
        source = PROJECT / "tests" / "shifted_clock.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
        return _run(library, arguments)


def _run(library: Path, arguments: list[str]) -> int:
    failed = []
    for name, moment in MOMENTS.items():
        sys.stdout.write(f"\n{name}: {moment:%A %Y-%m-%d %H:%M} UTC\n")
        sys.stdout.flush()
        with TemporaryDirectory(prefix="fx-") as folder:
            tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(arguments or ["-n", "3", *_FOLDERS])]
            if subprocess.run(tests, cwd=PROJECT, env=_environment(library, moment, folder)).returncode:
                failed.append(name)
    sys.stdout.write(f"\nfailed on: {', '.join(failed)}\n" if failed else "\nevery day passes\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

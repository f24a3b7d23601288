"""No coverage tracing for end-to-end tests and tests with much data: other tests cover the same lines, and tracing is slow."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import coverage
import pytest

UNTRACED: Mapping[str, str] = {"COVERAGE_PROCESS_CONFIG": ""}
"""Variables that keep coverage out of a process, which it makes several times slower."""


@pytest.fixture(autouse=True, scope="module")
def untraced() -> Iterator[None]:
    """Suspend coverage tracing in this process for the tests of a module, which halves their time."""
    with _no_tracing():
        yield


@pytest.fixture
def untraced_test() -> Iterator[None]:
    """Suspend coverage tracing for one test."""
    with _no_tracing():
        yield


@contextmanager
def _no_tracing() -> Iterator[None]:
    tracing = coverage.Coverage.current()
    if tracing is None:
        yield
        return
    tracing.stop()
    try:
        yield
    finally:
        tracing.start()

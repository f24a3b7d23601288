"""Tests of the whole and of much data, whose lines other tests have measured: tracing would only slow them down."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import coverage
import pytest

UNTRACED: Mapping[str, str] = {"COVERAGE_PROCESS_CONFIG": ""}
"""Variables that keep coverage from following a process, which makes it several times slower."""


@pytest.fixture(autouse=True, scope="module")
def untraced() -> Iterator[None]:
    """Nothing that this module's tests do in this process counts for the coverage; they take half the time."""
    with _no_tracing():
        yield


@pytest.fixture
def untraced_test() -> Iterator[None]:
    """The same for one test."""
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

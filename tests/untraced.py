"""Tests of the whole, which other tests have measured line by line: tracing would only slow their clients down."""

from collections.abc import Iterator

import coverage
import pytest


@pytest.fixture(autouse=True, scope="module")
def untraced() -> Iterator[None]:
    """Nothing of this module's tests counts for the coverage, in this process; they take half the time."""
    tracing = coverage.Coverage.current()
    if tracing is None:
        yield
        return
    tracing.stop()
    try:
        yield
    finally:
        tracing.start()

import logging

import pytest

from app.quiet_log import MOST_KINDS, OnceAMinute, by_client
from tests.building import Clock
from tests.waiting import wait_until


class Written(logging.Handler):
    """A handler that keeps its lines."""

    def __init__(self, quiet: OnceAMinute) -> None:
        super().__init__()
        self.addFilter(quiet)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def logger_to(written: Written) -> logging.Logger:
    """A logger of this test's own."""
    logger = logging.getLogger(f"{__name__}.{id(written)}")
    logger.propagate = False
    logger.addHandler(written)
    return logger


def test_a_kind_is_written_once_and_with_its_count_after_the_interval() -> None:
    clock = Clock()
    logger = logger_to(written := Written(OnceAMinute(60, clock)))
    for number in range(5000):
        logger.warning("refused %d", number, extra=by_client("192.0.2.1"))
        logger.warning("another kind", extra=by_client("192.0.2.2"))
        clock.now += 0.001
    clock.now += 60
    logger.warning("refused %d", -1, extra=by_client("192.0.2.3"))
    assert written.lines == [
        "refused 0 (from 192.0.2.1)",
        "another kind (from 192.0.2.2)",
        "refused -1 (from 192.0.2.3, and 4999 more in 60 s)",
    ]


async def test_in_an_event_loop_the_count_is_written_when_the_interval_ends() -> None:
    logger = logger_to(written := Written(OnceAMinute(0.05)))
    for number in range(100):
        logger.warning("refused", extra=by_client(f"192.0.2.{number}"))
    await wait_until(lambda: len(written.lines) == 2, "the count is written")
    assert written.lines == ["refused (from 192.0.2.0)", "refused (from 192.0.2.99, and 98 more in 0.05 s)"]


def test_a_kind_may_be_named() -> None:
    logger = logger_to(written := Written(OnceAMinute()))
    for origin in ("http://a", "http://b", "http://a"):
        logger.warning("refused %s", origin, extra=by_client("192.0.2.1", origin))
    assert written.lines == ["refused http://a (from 192.0.2.1)", "refused http://b (from 192.0.2.1)"]


def test_the_kinds_are_bounded() -> None:
    clock = Clock()
    logger = logger_to(written := Written(OnceAMinute(60, clock)))
    for number in range(MOST_KINDS + 500):
        logger.warning("refused %d", number, extra=by_client("192.0.2.1", f"kind {number}"))
    assert len(written.lines) == MOST_KINDS + 1
    clock.now += 61
    logger.warning("refused again", extra=by_client("192.0.2.1", "new"))
    assert len(written.lines) == MOST_KINDS + 2


@pytest.mark.parametrize(("given", "shown"), [("a\r\n2026 CRITICAL: b\x1b[2J", r"a\r\n2026 CRITICAL: b\x1b[2J"), ("é", "é")])
def test_what_a_client_sends_stays_one_line(given: str, shown: str) -> None:
    logger = logger_to(written := Written(OnceAMinute()))
    logger.warning("refused %s", given, extra=by_client(None))
    logger.warning("long %s", "x" * 10_000, extra=by_client(None))
    assert written.lines[0] == f"refused {shown}"
    assert len(written.lines[1]) < 400


def test_other_records_pass_unchanged() -> None:
    logger = logger_to(written := Written(OnceAMinute()))
    for _ in range(3):
        logger.warning("lost %s", "Redis")
    assert written.lines == ["lost Redis"] * 3

"""Warnings that clients can cause: one line a minute for each kind, however often it happens.

The place that warns passes ``extra=by_client(address)``, and the handler has a ``OnceAMinute`` filter.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

INTERVAL = 60.0
"""Seconds in which a kind of warning is written once."""

MOST_KINDS = 200
"""Kinds that are told apart at a time; all beyond them are one kind of their logger."""

_LONGEST = 300
_KEY = "caused_by"


@dataclass(frozen=True, slots=True)
class _Cause:
    address: str
    kind: str | None


def by_client(address: str | None, kind: str | None = None) -> Mapping[str, Any]:
    """Return the ``extra`` of a log record that a client caused, with the client's address for the line.

    Records of one kind count as one. By default these are the records with the same text before its arguments are filled in.
    """
    return {_KEY: _Cause(address or "", kind)}


@dataclass(slots=True)
class _Window:
    """What has happened of one kind since its last line."""

    ends: float
    more: int = 0
    last: logging.LogRecord | None = None


class OnceAMinute(logging.Filter):
    """Lets the first record of each kind through, and at the end of the interval one that counts the rest.

    Records without ``by_client`` pass unchanged. In the thread of an event loop the count is written when the interval ends;
    elsewhere with the next record of the kind.
    """

    def __init__(self, interval: float = INTERVAL, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._interval = interval
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        cause = getattr(record, _KEY, None)
        if not isinstance(cause, _Cause):
            return True
        kind = (record.name, record.msg if cause.kind is None else cause.kind)
        now = self._clock()
        if kind not in self._windows and len(self._windows) >= MOST_KINDS:
            self._forget_past(now)
            if len(self._windows) >= MOST_KINDS:
                kind = (record.name, "")
        window = self._windows.get(kind)
        if window is not None and now < window.ends:
            window.more += 1
            window.last = record
            return False
        self._begin(kind, now)
        _say(record, cause.address, window.more if window is not None else 0, self._interval)
        return True

    def _begin(self, kind: tuple[str, str], now: float) -> None:
        window = self._windows[kind] = _Window(now + self._interval)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        loop.call_later(self._interval, partial(self._end, kind, window))

    def _end(self, kind: tuple[str, str], window: _Window) -> None:
        """Write the count, which begins the next interval, or forget a kind that has not happened again."""
        if self._windows.get(kind) is not window:
            return
        del self._windows[kind]
        if window.last is None:
            return
        self._begin(kind, self._clock())
        record = window.last
        _say(record, getattr(record, _KEY).address, window.more - 1, self._interval)
        delattr(record, _KEY)  # so that it passes
        logging.getLogger(record.name).handle(record)

    def _forget_past(self, now: float) -> None:
        for kind in [kind for kind, window in self._windows.items() if window.ends <= now]:
            del self._windows[kind]


def _say(record: logging.LogRecord, address: str, more: int, interval: float) -> None:
    """Put the address and the count into a record's text, which stays one line."""
    text = record.getMessage()
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    notes = [f"from {address}"] if address else []
    if more > 0:
        notes.append(f"and {more} more in {interval:g} s")
    record.msg = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    if notes:
        record.msg += f" ({', '.join(notes)})"
    record.args = None

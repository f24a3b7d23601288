"""Files of recorded quotes, read row by row: OANDA ticks and bars, TrueFX ticks, plain or compressed."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from app.errors import SourceError
from app.market.pair import CurrencyPair
from app.providers.bar_files.text import day_in_name, pair_in_name, read_lines

_NUMBER = r"(\d+(?:\.\d+)?)"
_BAR = rf"[\d.]+,[\d.]+,[\d.]+,{_NUMBER},\d+"
_HEADER = "timestamp,bid,ask"
_ROWS_TO_RECOGNISE_BY = 10

_logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """A recorded quote: its time (aware, UTC), and its prices as written."""

    time: datetime
    pair: CurrencyPair
    bid: Decimal
    ask: Decimal


@dataclass(frozen=True, slots=True)
class _Layout:
    """The pattern of a row, which yields time, bid and ask, and how long after that time the quote was made."""

    row: re.Pattern[str]
    lasts: timedelta


_TICK = _Layout(re.compile(rf"(\d{{1,8}}),{_NUMBER},{_NUMBER}\s*", re.ASCII), timedelta(0))
_MINUTE = _Layout(re.compile(rf"(\d{{1,8}}),{_BAR},{_BAR}\s*", re.ASCII), timedelta(minutes=1))
_HOUR = _Layout(re.compile(rf"(\d{{8}} \d\d:\d\d),{_BAR},{_BAR}\s*", re.ASCII), timedelta(hours=1))
_TRUEFX = _Layout(re.compile(rf"(\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d[^,]*),{_NUMBER},{_NUMBER}\s*", re.ASCII), timedelta(0))


class Recording:
    """A file of quotes of one pair. ``first`` is its first quote.

    The layout is recognised from the rows. The pair is in the name of the file (``eurusd.zip``, ``usdjpy-ticks.csv``) or of its
    folder (``eurusd/20140505_quote.zip``); so is the day, when rows hold milliseconds since midnight.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and read its first quote. Raises SourceError if that fails."""
        head = list(islice(read_lines(path), _ROWS_TO_RECOGNISE_BY))
        self._path = path
        self._pair = _pair_of(path)
        self._midnight = day_in_name(path)
        self._layout, self.first = self._recognise(head)

    def rows(self) -> Iterator[Row]:
        """Yield every quote in the order of the file.

        Logs how many rows could not be read. Raises SourceError if the file cannot be read to its end.
        """
        # The first row is known already, so a file of a long series is not opened before its turn.
        yield self.first
        malformed = seen = 0
        for line in read_lines(self._path):
            row = self._parse(self._layout, line)
            if row is None:
                malformed += line.strip() != _HEADER
                continue
            seen += 1
            if seen > 1:
                yield row
        if malformed:
            _logger.warning("%s: %d rows could not be read and were passed over", self._path, malformed)

    def _recognise(self, lines: list[str]) -> tuple[_Layout, Row]:
        layouts = (_TICK, _MINUTE, _HOUR, _TRUEFX) if self._midnight is not None else (_HOUR, _TRUEFX)
        for line in lines:
            for layout in layouts:
                row = self._parse(layout, line)
                if row is not None:
                    return layout, row
        raise SourceError(f"{self._path} cannot be replayed: its rows are neither OANDA ticks or bars nor TrueFX ticks")

    def _parse(self, layout: _Layout, line: str) -> Row | None:
        match = layout.row.fullmatch(line)
        if match is None:
            return None
        try:
            time = self._time(match[1]) + layout.lasts
        except ValueError:
            return None
        return Row(time, self._pair, Decimal(match[2]), Decimal(match[3]))

    def _time(self, text: str) -> datetime:
        if self._midnight is not None and text.isdigit():
            return self._midnight + timedelta(milliseconds=int(text))
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _pair_of(path: Path) -> CurrencyPair:
    pair = pair_in_name(path)
    if pair is None:
        raise SourceError(f"{path} cannot be replayed: neither its name nor its folder's names a pair")
    return pair

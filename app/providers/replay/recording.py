"""Files of recorded quotes, read block by block: ticks of every known layout, and OANDA's bars in that of Lean."""

import logging
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from app.errors import SourceError
from app.market.blocks.starts import moment_of
from app.market.pair import CurrencyPair
from app.providers.bar_files.bars.frame import Frame
from app.providers.bar_files.bars.rows import RowReader
from app.providers.bar_files.bars.steps import steps_of, usual
from app.providers.bar_files.layouts.layout import Layout
from app.providers.bar_files.options import Crossed
from app.providers.bar_files.recognition import pair_of, recognise_layout, why_unreadable
from app.providers.bar_files.tally import Tally
from app.providers.bar_files.text.decoded import SMALL_BLOCK, text_blocks
from app.providers.bar_files.values.moments import DAY, HOUR, MINUTE, SECOND

_ROWS_TO_RECOGNISE_BY = 10

_logger = logging.getLogger(__name__)
_LENGTHS = (SECOND, MINUTE, HOUR, DAY)


class Row(NamedTuple):
    """A recorded quote: when it was made (aware UTC), and its prices as written."""

    time: datetime
    pair: CurrencyPair
    bid: Decimal
    ask: Decimal


class Recording:
    """A file of quotes. ``first`` is its first quote.

    The layout is recognised by the rows; where these do not name the pair, it is in the file's name (``eurusd.zip``,
    ``usdjpy-ticks.csv``) or its folder's (``eurusd/20140505_quote.zip``), the day too where rows hold milliseconds since
    midnight. A bar counts as a quote at its end.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and read its first quote. Raises SourceError where that cannot be done."""
        self._path = path
        self._layout, lines = _recognise(path)
        self._pair = pair_of(path, self._layout, None, "replayed")
        tally = Tally()
        head = self._reader(tally).read("\n".join(lines).encode())
        self._lasts = _length(self._layout, head) if self._layout.quotes is None else 0
        first = next(self._rows_of(head), None)
        if first is None:
            raise SourceError(f"{path} cannot be replayed: {why_unreadable(tally, lines)}")
        self.first = first

    def rows(self) -> Iterator[Row]:
        """Yield every quote in the order of the file.

        Logs how many rows could not be read. Raises SourceError if the file cannot be read to its end.
        """
        # The first row is known already, so a file of a long series is not opened before its turn.
        yield self.first
        reader, seen = self._reader(Tally()), 0
        for block in text_blocks(self._path, size=SMALL_BLOCK):
            frame = reader.read(block)
            rows = self._rows_of(frame)
            if not seen:
                next(rows, None)
            seen += len(frame)
            yield from rows
        malformed = max(reader.lines - (self._layout.first_row - 1), 0) - seen
        if malformed:
            _logger.warning("%s: %d rows could not be read and were passed over", self._path, malformed)

    def _reader(self, tally: Tally) -> RowReader:
        return RowReader(self._layout, clock=None, pair=self._pair, crossed=Crossed.KEEP, tally=tally)

    def _rows_of(self, frame: Frame) -> Iterator[Row]:
        bids, asks = frame.prices["bid"][-1].tolist(), frame.prices["ask"][-1].tolist()
        times, pairs = (frame.time + self._lasts).tolist(), frame.pair.tolist()
        for time, pair, bid, ask in zip(times, pairs, bids, asks, strict=True):
            price, other = Decimal(bid).scaleb(-frame.decimals), Decimal(ask).scaleb(-frame.decimals)
            yield Row(moment_of(time), frame.pairs[pair], price, other)


def _recognise(path: Path) -> tuple[Layout, list[str]]:
    layout, lines = recognise_layout(path, "replayed", _ROWS_TO_RECOGNISE_BY)
    if layout.quotes is None and not (layout.granularities and layout.has_sides):
        raise SourceError(f"{path} cannot be replayed: its rows are neither ticks nor OANDA's bars of bid and ask")
    return layout, lines


def _length(layout: Layout, head: Frame) -> int:
    """How long the bars of a file last, in microseconds: as far as they are apart, or as is usual in the layout."""
    step = usual(steps_of(head))
    return step if step in _LENGTHS else MINUTE if layout.time.midnight is not None else HOUR

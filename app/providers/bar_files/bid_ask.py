"""Bars with bids in one file and asks in another, as exported by FXCM, Dukascopy and dukascopy-node.

FXCM timestamps minutes with their start: in winter its weeks begin with a bar of 22:00 or 22:01 UTC on Sunday and end with one
of 21:58 or 21:59 on Friday. Its bars open at the previous close, even after a weekend.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.errors import SourceError
from app.market.bars.candle import Candle
from app.market.blocks.block import BarBlock
from app.providers.bar_files.bars.frame import Frame
from app.providers.bar_files.bars.sides import crossed_reasons, uncrossed
from app.providers.bar_files.file import BarFile, as_sentences, in_order
from app.providers.bar_files.layouts.layout import UNKNOWN_SOURCE
from app.providers.bar_files.options import Crossed, Options
from app.providers.bar_files.reader import PreviewRow
from app.providers.bar_files.tally import RejectedRow, Tally
from app.providers.bar_files.text.decoded import lines_at
from app.providers.bar_files.text.rows import Flags

_FXCM = ("timestamp", "open", "high", "low", "close")


class BidAskFiles:
    """Bars with bids in one file and asks in another, joined on time; a BarReader.

    A bid and an ask with the same time count as one row. The text of an example begins with the side whose file it is in.
    """

    def __init__(self, bids: Path, asks: Path, options: Options) -> None:
        """Open and recognise both files. Raises SourceError, also if they do not belong together."""
        self._options = options
        self._bids, self._asks = BarFile(bids, options), BarFile(asks, options)
        for path, file in ((bids, self._bids), (asks, self._asks)):
            if file.has_sides or file.pair is None or file.granularity is None:
                raise SourceError(
                    f"{path} cannot be imported as one side of a pair's prices: it is no table of open, high, low, close"
                )
        self.pair, self.granularity = self._bids.pair, self._bids.granularity
        if (self.pair, self.granularity) != (self._asks.pair, self._asks.granularity):
            raise SourceError(f"{bids} and {asks} cannot be joined: one has {self._bids.title}, one has {self._asks.title}")
        self.source = options.source or self._bids.layout.source
        if self.source == UNKNOWN_SOURCE and self._bids.layout.names == self._asks.layout.names == _FXCM:
            self.source = "fxcm"
        self.title = f"{self._bids.title} and {asks.name}"
        self._both = 0
        self._of_bids, self._of_asks = Tally(), Tally()
        self._examples: list[RejectedRow] = []
        self._how: list[str] = []

    @property
    def notes(self) -> Sequence[str]:
        """How the files were interpreted."""
        return [
            *self._bids.notes,
            *as_sentences(self._how),
            f"Bids are those of {self._bids.path.name}, asks those of {self._asks.path.name}.",
        ]

    @property
    def rows(self) -> int:
        """Rows read; a bid and an ask with the same time count once."""
        return self._bids.tally.rows + self._asks.tally.rows - self._both

    @property
    def accepted(self) -> int:
        """Rows that ended up in a bar."""
        return self._of_bids.accepted

    @property
    def rejected(self) -> Counter[str]:
        """Rejected rows by reason."""
        return in_order(self._bids.tally, self._asks.tally, self._of_bids, self._of_asks)

    @property
    def examples(self) -> list[RejectedRow]:
        """The first rejected rows for each reason, in either file."""
        return self._examples

    def candles(self) -> Iterator[Candle]:
        """Yield the bars one by one. Raises SourceError."""
        for block in self.blocks():
            yield from block.candles()

    def blocks(self, reached: Callable[[float], None] = lambda fraction: None) -> Sequence[BarBlock]:
        """Read both files and return complete bars in order of time, in at most one block. Raises SourceError."""
        self._both = 0
        self._of_bids, self._of_asks, self._examples = Tally(), Tally(), []
        bids = self._single(self._bids.load(lambda fraction: reached(fraction / 2)), self._of_bids)
        asks = self._single(self._asks.load(lambda fraction: reached((1 + fraction) / 2)), self._of_asks)
        self._bids.check(bids)
        self._asks.check(asks)
        _, of_bids, of_asks = np.intersect1d(bids.time, asks.time, assume_unique=True, return_indices=True)
        self._of_bids.reject(bids.line[_others(len(bids), of_bids)], "no ask of this time")
        self._of_asks.reject(asks.line[_others(len(asks), of_asks)], "no bid of this time")
        self._both = len(of_bids)
        built = self._bids.build(self._joined(bids.take(of_bids), asks.take(of_asks)), self._of_bids, self.source)
        self._how = built.how
        self._examples = sorted(
            example
            for file, label, tallies in (
                (self._bids, "bid ", (self._bids.tally, self._of_bids)),
                (self._asks, "ask ", (self._asks.tally, self._of_asks)),
            )
            for example in _examples(file.path, label, tallies)
        )
        return built.blocks

    def preview(self, count: int) -> list[PreviewRow]:
        """Return the first rows of both files."""
        sides = (("bid", self._bids), ("ask", self._asks))
        return [
            replace(row, prices=dict.fromkeys([side], *row.prices.values()))
            for side, file in sides
            for row in file.preview(count)
        ]

    def _single(self, frame: Frame, tally: Tally) -> Frame:
        """Sort the rows of one side by time, and reject repeated times."""
        frame = frame.take(np.argsort(frame.time, kind="stable"))
        again = np.append(False, np.diff(frame.time) == 0) if len(frame) else np.zeros(0, bool)
        tally.reject(frame.line[again], "repeated time")
        return frame.take(~again)

    def _joined(self, bids: Frame, asks: Frame) -> Frame:
        """Combine bids and asks of the same times, and treat crossed rows as the options say."""
        (bid,), (ask,) = bids.prices.values(), asks.prices.values()
        decimals = max(bids.decimals, asks.decimals)
        prices = {"bid": bid * 10 ** (decimals - bids.decimals), "ask": ask * 10 ** (decimals - asks.decimals)}
        joined = replace(bids, prices=prices, decimals=decimals, volume=np.maximum(bids.volume, asks.volume))
        if self._options.crossed is Crossed.SWAP:
            return replace(joined, prices=uncrossed(prices))
        if self._options.crossed is Crossed.REJECT:
            good = np.ones(len(joined), bool)
            for bad, reason in crossed_reasons(prices["bid"], prices["ask"]):
                self._of_bids.reject(joined.line[good & bad], reason)
                good &= ~bad
            return joined.take(good)
        return joined


def _others(count: int, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Flags:
    others = np.ones(count, bool)
    others[rows] = False
    return others


def _examples(path: Path, label: str, tallies: Sequence[Tally]) -> list[RejectedRow]:
    texts = lines_at(path, {line for tally in tallies for line in tally.shown_lines})
    return [example for tally in tallies for example in tally.examples(texts, label)]

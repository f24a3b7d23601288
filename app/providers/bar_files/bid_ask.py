"""Bars whose bids are in one file and whose asks are in another, as FXCM provides them.

FXCM stamps minutes with their start: in winter its weeks begin with a bar of 22:00 or 22:01 UTC on Sunday and end with one of
21:58 or 21:59 on Friday. Its bars open at the previous close, even after a weekend.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair
from app.providers.bar_files.fields import UnusableRow, check_sides, halfway
from app.providers.bar_files.file import BarFile
from app.providers.bar_files.reader import LONGEST_EXAMPLE, RejectedRow, Tally

_FXCM = ("timestamp", "open", "high", "low", "close")


class BidAskFiles:
    """Bars with bids in one file and asks in another, joined on time; a BarReader.

    A bid and an ask of the same time count as one row. The text of an example starts with bid or ask, the file that its line
    refers to.
    """

    def __init__(
        self,
        bids: Path,
        asks: Path,
        *,
        pair: CurrencyPair | None = None,
        granularity: Granularity | None = None,
        source: str | None = None,
    ) -> None:
        """Open both files and recognise them. Raises SourceError, naming the file, also when the two do not match."""
        self._bids = BarFile(bids, pair=pair, granularity=granularity, source=source)
        self._asks = BarFile(asks, pair=pair, granularity=granularity, source=source)
        for side in (bids, self._bids), (asks, self._asks):
            path, file = side
            if file.has_sides or file.pair is None or file.granularity is None:
                raise SourceError(
                    f"{path} cannot be imported as one side of a pair's prices: it is not a table of open, high, low, close"
                )
        self.pair, self.granularity = self._bids.pair, self._bids.granularity
        if (self.pair, self.granularity) != (self._asks.pair, self._asks.granularity):
            raise SourceError(f"{bids} and {asks} cannot be joined: one has {self._bids.title}, one has {self._asks.title}")
        self.source = source or ("fxcm" if self._bids.columns == self._asks.columns == _FXCM else "import")
        self.title = f"{self._bids.title} and {asks.name}"
        self._joined = 0
        self._own = Tally()

    @property
    def rows(self) -> int:
        """Bids and asks read; two of the same time count once."""
        return self._bids.rows + self._asks.rows - self._joined

    @property
    def accepted(self) -> int:
        """Bars returned."""
        return self._own.accepted

    @property
    def rejected(self) -> Counter[str]:
        """Rows that are in no bar, by reason."""
        return self._bids.rejected + self._asks.rejected + self._own.rejected

    @property
    def examples(self) -> list[RejectedRow]:
        """The first few rejected rows for each reason, in either file."""
        sides = (("bid", self._bids), ("ask", self._asks))
        single = [example._replace(text=_labelled(side, example.text)) for side, file in sides for example in file.examples]
        return single + self._own.examples

    def candles(self) -> Iterator[Candle]:
        """Yield the bars, complete, in order of time. Raises SourceError if a file cannot be read to its end."""
        self._joined, self._own = 0, Tally()
        bids, asks = self._bids.candles(), self._asks.candles()
        bid, ask = next(bids, None), next(asks, None)
        while bid is not None or ask is not None:
            if ask is None or (bid is not None and bid.time < ask.time):
                self._reject("bid", self._bids, "no ask of this time")
                bid = next(bids, None)
            elif bid is None or ask.time < bid.time:
                self._reject("ask", self._asks, "no bid of this time")
                ask = next(asks, None)
            else:
                self._joined += 1
                candle = self._candle(bid, ask)
                if candle is not None:
                    yield candle
                bid, ask = next(bids, None), next(asks, None)

    def _candle(self, bid: Candle, ask: Candle) -> Candle | None:
        try:
            check_sides(bid.mid, ask.mid)
        except UnusableRow as unusable:
            self._reject("bid", self._bids, str(unusable))
            return None
        self._own.accepted += 1
        mid = halfway(bid.mid, ask.mid)
        volume = max(bid.volume, ask.volume)
        return Candle(bid.pair, bid.granularity, bid.time, bid.mid, mid, ask.mid, volume, complete=True, source=self.source)

    def _reject(self, side: str, file: BarFile, reason: str) -> None:
        """Reject the current row of the file."""
        self._own.reject(file.line, reason, _labelled(side, file.text))


def _labelled(side: str, text: str) -> str:
    return f"{side} {text.strip()}"[:LONGEST_EXAMPLE]

"""Crossed bids and asks."""

from collections.abc import Iterator, Mapping

import numpy as np

from app.market.blocks.block import Prices
from app.providers.bar_files.text.rows import Flags

_OF_BARS = (("close", 3), ("open", 0), ("high", 1), ("low", 2))


def crossed_reasons(bid: Prices, ask: Prices) -> Iterator[tuple[Flags, str]]:
    """Yield which rows are crossed, with the reason. Such bars cannot come from quotes with the ask at or above the bid."""
    if len(bid) == 1:
        yield ask[0] < bid[0], "ask below bid"
        return
    for name, place in _OF_BARS:
        yield ask[place] < bid[place], f"ask below bid at the {name}"


def uncrossed(prices: Mapping[str, Prices]) -> dict[str, Prices]:
    """Return the prices with bid and ask swapped wherever they are crossed."""
    bid, ask = prices["bid"], prices["ask"]
    return {**prices, "bid": np.minimum(bid, ask), "ask": np.maximum(bid, ask)}

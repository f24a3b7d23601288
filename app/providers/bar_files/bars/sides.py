"""Bids and asks beside each other: where they are crossed, and how they are set right."""

from collections.abc import Iterator, Mapping

import numpy as np

from app.market.blocks.block import Prices
from app.providers.bar_files.text.rows import Flags

_OF_BARS = (("close", 3), ("open", 0), ("high", 1), ("low", 2))


def crossed_reasons(bid: Prices, ask: Prices) -> Iterator[tuple[Flags, str]]:
    """Rows that no quotes add up to of which each has its ask at or above its bid, and why."""
    if len(bid) == 1:
        yield ask[0] < bid[0], "ask below bid"
        return
    for name, place in _OF_BARS:
        yield ask[place] < bid[place], f"ask below bid at the {name}"


def uncrossed(prices: Mapping[str, Prices]) -> dict[str, Prices]:
    """The prices with bid and ask exchanged, each by itself, where they are crossed."""
    bid, ask = prices["bid"], prices["ask"]
    return {**prices, "bid": np.minimum(bid, ask), "ask": np.maximum(bid, ask)}

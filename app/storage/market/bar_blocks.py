"""Converting blocks of bars to database columns."""

import numpy as np

from app.market.bars.making import GIVEN, Made, standing
from app.market.blocks.block import BarBlock, Prices
from app.storage.database.bulk import Columns

_SIDES = ("bid", "mid", "ask")
_PRICES = ("open", "high", "low", "close")


def columns_of(block: BarBlock) -> Columns:
    """Return the columns of ``candles``: times and prices as text, constant columns as a single value."""
    texts: dict[int, list[list[str]]] = {}
    made = GIVEN if block.of is None else Made(block.of.value)
    columns: dict[str, list[str] | list[int] | str | int | None] = {
        "pair": block.pair.name,
        "granularity": block.granularity.value,
        "time": [f"{time}Z" for time in np.datetime_as_string(block.times.view("datetime64[us]"))],
        "volume": block.volumes.tolist(),
        "complete": True,
        "source": block.source,
        "made_of": made.of,
        "parts": 1 if block.counts is None else block.counts.tolist(),
        "covered": 0,
        "whole": True,
        "standing": standing(made, complete=True),
        "first_time": None,
        "last_time": None,
        "since": None,
    }
    for side in _SIDES:
        prices: Prices = getattr(block, side)
        if id(prices) not in texts:  # one price that stands for all three is written once
            texts[id(prices)] = _price_texts(prices, block.decimals)
        columns.update((f"{side}_{name}", column) for name, column in zip(_PRICES, texts[id(prices)], strict=True))
    return columns


def _price_texts(prices: Prices, decimals: int) -> list[list[str]]:
    """Format prices with all decimals. A block has few distinct prices, so each is formatted once."""
    if not prices.size:
        return [[] for _ in prices]
    lowest = int(prices.min())
    step = int(np.gcd.reduce(prices.ravel() - lowest)) or 1
    places = (prices - lowest) // step
    count = int(places.max()) + 1
    if count <= 2 * prices.size:
        table = np.array(_texts(range(lowest, lowest + count * step, step), decimals), object)
    else:
        values, places = np.unique(prices, return_inverse=True)
        table = np.array(_texts(values.tolist(), decimals), object)
        places = places.reshape(prices.shape)
    texts: list[list[str]] = table[places].tolist()
    return texts


def _texts(prices: range | list[int], decimals: int) -> list[str]:
    unit = 10**decimals
    return [f"{price // unit}.{price % unit:0{decimals}}" for price in prices]

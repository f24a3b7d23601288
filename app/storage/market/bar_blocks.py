"""Converting blocks of bars to database columns."""

import numpy as np

from app.market.bars.making import GIVEN, Made, standing
from app.market.blocks.block import BarBlock, Prices
from app.storage.database.bulk import Columns

_SIDES = ("bid", "mid", "ask")
_PRICES = ("open", "high", "low", "close")


def columns_of(block: BarBlock) -> Columns:
    """Return the columns of ``candles``: times and prices as text, constant columns as a single value."""
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
    distinct: dict[int, Prices] = {id(prices): prices for prices in (block.bid, block.mid, block.ask)}
    texts = _price_texts(np.concatenate(list(distinct.values())), block.decimals)
    for side in _SIDES:
        # One price that stands for all three is written once.
        first = 4 * list(distinct).index(id(getattr(block, side)))
        columns.update((f"{side}_{name}", column) for name, column in zip(_PRICES, texts[first : first + 4], strict=True))
    return columns


def _price_texts(prices: Prices, decimals: int) -> list[list[str]]:
    """Format prices with all decimals. A block has few distinct prices, so each is formatted once."""
    if not prices.size:
        return [[] for _ in prices]
    lowest = int(prices.min())
    step = int(np.gcd.reduce(prices.ravel() - lowest)) or 1
    places = (prices - lowest) // step
    count = int(places.max()) + 1
    if count <= 8 * prices.size:
        used = np.zeros(count, bool)
        used[places] = True
        table = np.empty(count, object)
        table[used] = _texts((np.flatnonzero(used) * step + lowest).tolist(), decimals)
    else:
        values, places = np.unique(prices, return_inverse=True)
        table = np.array(_texts(values.tolist(), decimals), object)
        places = places.reshape(prices.shape)
    texts: list[list[str]] = table[places].tolist()
    return texts


def _texts(prices: list[int], decimals: int) -> list[str]:
    """Format prices in ascending order, with one decimal or more."""
    digits = [str(price).zfill(decimals + 1) for price in prices] if prices[0] < 10**decimals else map(str, prices)
    return [f"{text[:-decimals]}.{text[-decimals:]}" for text in digits]

"""Names of columns in English and German."""

from collections.abc import Mapping, Sequence

_SIDES = ("bid", "mid", "ask")

TIMES = (
    "time", "timestamp", "datetime", "date_time", "gmt_time", "local_time", "utc_time", "utc", "time_(utc)", "date_(utc)",
    "open_time", "zeit", "zeitstempel", "uhrzeit", "date", "datum", "dtyyyymmdd",
)  # fmt: skip
"""Names of times and dates, preferred ones first."""

DATES = ("date", "datum", "dtyyyymmdd")
TIMES_OF_DAY = ("time", "zeit", "uhrzeit")
PAIRS = ("pair", "instrument", "symbol", "ticker", "währungspaar")
GRANULARITIES = ("granularity", "per")
VOLUMES = ("tickvol", "tick_volume", "tickqty", "volume", "vol", "vol_", "volumen", "umsatz")
COMPLETES = ("complete",)
BIDS = ("bid", "bidprice", "bid_price", "geld")
ASKS = ("ask", "askprice", "ask_price", "offer", "brief")

_OPENS = ("open", "o", "eröffnung", "eröffn_", "eröffnungskurs", "erster", "start")
_HIGHS = ("high", "h", "hoch", "hochkurs", "höchst", "tageshoch")
_LOWS = ("low", "l", "tief", "tiefkurs", "niedrigst", "tagestief")
_CLOSES = ("close", "c", "schluss", "schlusskurs", "zuletzt", "letzter", "price")
_OHLC = (_OPENS, _HIGHS, _LOWS, _CLOSES)


def normal(name: str) -> str:
    """Normalise a name: ``bid_open`` for `` Bid Open``, ``open`` for ``<OPEN>``."""
    return name.strip().strip("<>").lower().replace(" ", "_").replace("-", "_").replace(".", "_")


def place_of(places: Mapping[str, int], names: Sequence[str]) -> int | None:
    """Return the index of the first of these names that exists, or None."""
    return next((places[name] for name in names if name in places), None)


def price_places(places: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the indexes of open, high, low and close for each complete side; prices without a side are ``mid``."""
    sides = {side: found for side in _SIDES if (found := _of_side(places, side)) is not None}
    plain = _of_side(places, "")
    if plain is not None:
        sides.setdefault("mid", plain)
    return sides


def _of_side(places: Mapping[str, int], side: str) -> tuple[int, ...] | None:
    found = []
    for names in _OHLC:
        forms = [form for name in names for form in (f"{side}_{name}", f"{side}{name}", f"{name}_{side}")] if side else names
        place = place_of(places, forms)
        if place is None:
            return None
        found.append(place)
    return tuple(found)

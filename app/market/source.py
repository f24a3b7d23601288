"""What every source of prices offers."""

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from app.market.quote import Quote

ALWAYS_OPEN = frozenset({"simulated", "replay", "kraken"})
"""Sources that quote around the clock. Every other source is judged by the trading week of interbank FX."""

INVENTED = frozenset({"simulated", "replay"})
"""Sources whose prices are no market of the time they carry: made up, or of another day."""


class PriceSource(Protocol):
    """A place prices come from.

    ``name`` is written into every quote; ``simulated`` is true where the prices are invented and must be shown as such.
    """

    name: str
    simulated: bool

    def quotes(self) -> AsyncIterator[Quote]:
        """Quotes as they happen, until the source ends. Raises SourceError where it cannot go on.

        The iterator may be abandoned at any moment; a second call begins anew.
        """
        ...


@runtime_checkable
class WatchedSource(Protocol):
    """A source that gives signs of life also while nobody quotes, so that it knows of itself when it is silent."""

    @property
    def silent(self) -> bool:
        """True where no sign of life has come for so long that prices cannot be trusted to be the newest."""
        ...

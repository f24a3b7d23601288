"""What a source of prices offers, and what is known of a source by its name."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, runtime_checkable

from app.market.quote import Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTraits:
    """The lasting properties of a source, declared once by its provider.

    The defaults describe a source that is not known: a real market that follows the trading week of interbank FX.
    """

    name: str
    """Written into every quote and bar."""

    simulated: bool = False
    """Prices are made up and must be shown as such."""

    invented: bool = False
    """Prices belong to no market of the time they carry: simulated, or recorded on another day."""

    always_open: bool = False
    """Quotes around the clock, so closed hours and holidays do not apply."""

    daily: bool = False
    """One fixing a day: hours without a quote are no silence."""

    has_history: bool = False
    """Offers bars of the past; the source satisfies ``CandleSource``."""

    pause_before_turn: timedelta = timedelta(0)
    """How long before 17:00 in New York, the turn of the trading day, quoting stops."""

    pause_after_turn: timedelta = timedelta(0)
    """How long after the turn quoting resumes."""


class Sources:
    """The traits of the known sources, looked up by name.

    A stored bar or an event carries nothing but the name of its source, and a publisher outside the gateway may claim any
    name, so a lookup never fails: an unknown name gets the defaults of ``SourceTraits``.
    """

    def __init__(self, known: Iterable[SourceTraits] = ()) -> None:
        """Raises ValueError for two sources of one name."""
        traits = tuple(known)
        self._traits = {each.name: each for each in traits}
        if len(self._traits) < len(traits):
            raise ValueError("every source needs a name of its own")
        self.names = tuple(self._traits)
        self.invented = frozenset(each.name for each in traits if each.invented)

    def of(self, name: str) -> SourceTraits:
        """Return the traits of the source with this name."""
        return self._traits.get(name) or SourceTraits(name=name)

    def is_invented(self, name: str) -> bool:
        """Return True for a source whose prices belong to no market of the time they carry."""
        return name in self.invented


UNKNOWN_SOURCES = Sources()
"""No source is known: every name stands for a real market that follows the trading week."""


class PriceSource(Protocol):
    """A source of live prices.

    ``name`` is written into every quote; ``simulated`` is True where prices are made up and must be shown as such.
    """

    @property
    def name(self) -> str: ...
    @property
    def simulated(self) -> bool: ...

    def quotes(self) -> AsyncIterator[Quote]:
        """Yield quotes as they happen, until the source ends. Raises SourceError when it cannot go on.

        The iterator may be abandoned at any time; calling again starts over.
        """
        ...


class ProviderSource(PriceSource, Protocol):
    """A price source with lasting traits: that of a single provider, not a choice between several."""

    traits: SourceTraits


@runtime_checkable
class WatchedSource(Protocol):
    """A source that can tell its own silence, because it gets heartbeats while there are no prices."""

    @property
    def silent(self) -> bool:
        """True when neither price nor heartbeat has come for so long that prices may be out of date."""
        ...

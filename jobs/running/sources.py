"""The sources of prices and of history that the settings name."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from itertools import pairwise

from app.config import Settings
from app.errors import ConfigurationError
from app.market.bars.history import CandleSource
from app.market.source import PriceSource, ProviderSource
from app.providers.preference import PreferredSources, Switch
from app.providers.reconnecting import ReconnectingSource
from app.sources import SOURCES, OnHole, open_provider


def open_source(
    settings: Settings,
    *,
    on_switch: Callable[[Switch], None] | None = None,
    on_hole: OnHole | None = None,
) -> PriceSource:
    """Return the source that the settings name, or several of them behind one, in their order of preference.

    Those that quote all day at a real market are connected again when they are silent.

    ``on_switch`` is called when another one of several becomes active; ``on_hole`` when a stream that had broken off resumes.
    Raises SourceError or ConfigurationError when the settings cannot work; an invented source before a real one cannot,
    because no real price would ever follow it.
    """
    for name, later in pairwise(settings.source):
        if SOURCES.is_invented(name) and not SOURCES.is_invented(later):
            raise ConfigurationError(f"SOURCE: {name} must be alone or come last, because its prices are not those of the market")
    sources = [_watched(open_provider(name, settings, on_hole), settings.source_silence) for name in settings.source]
    if len(sources) == 1:
        return sources[0]
    return PreferredSources(sources, silence=settings.source_silence, on_switch=on_switch)


def _watched(source: ProviderSource, silence: float) -> ProviderSource:
    """Return a source that is connected again when it is silent, unless it quotes once a day or cannot be connected again."""
    return source if source.traits.daily or source.traits.invented else ReconnectingSource(source, silence)


@asynccontextmanager
async def open_history(settings: Settings) -> AsyncGenerator[CandleSource | None]:
    """Open the history of the first source in the settings that has any; None if no source has.

    Raises SourceError or ConfigurationError when the settings of that source cannot work. Sources without history are not
    opened: where bars are fetched, the files of a replay need not exist.
    """
    for name in settings.source:
        if SOURCES.of(name).has_history:
            source = open_provider(name, settings)
            assert isinstance(source, CandleSource)
            # A source that can share its connections does so while it is entered.
            shared = source if isinstance(source, AbstractAsyncContextManager) else nullcontext()
            async with shared:
                yield source
            return
    yield None

"""The sources of prices and of bars that the settings name."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import pairwise

from app.config import Settings, SourceName
from app.errors import ConfigurationError
from app.market.bars.history import CandleSource
from app.market.pair import TrackedPairs
from app.market.source import INVENTED, PriceSource
from app.providers.ecb.source import EcbSource
from app.providers.kraken.source import KrakenSource
from app.providers.oanda.source import OandaSource
from app.providers.preference import PreferredSources, Switch
from app.providers.replay.source import ReplaySource
from app.providers.simulated.source import SimulatedSource


def open_source(
    settings: Settings,
    *,
    on_switch: Callable[[Switch], None] | None = None,
    on_hole: Callable[[datetime, datetime], None] | None = None,
) -> PriceSource:
    """The source that the settings name; several of them behind one, in their order.

    ``on_switch`` is told when another of several becomes the active one; ``on_hole`` when a stream goes on that had broken off,
    with the moments between which it had. Raises SourceError and ConfigurationError where the settings cannot work, as with an
    invented source before a real one: nothing real would ever follow it.
    """
    for name, later in pairwise(settings.source):
        if name in INVENTED and later not in INVENTED:
            raise ConfigurationError(f"SOURCE: {name} has to be alone or come last, as its prices are no market of the present")
    sources = [_source(name, settings, on_hole) for name in settings.source]
    if len(sources) == 1:
        return sources[0]
    return PreferredSources(sources, silence=settings.source_silence, on_switch=on_switch)


@asynccontextmanager
async def open_history(settings: Settings) -> AsyncGenerator[CandleSource | None]:
    """The bars of the first source in the settings that has any; None where none has: the past of invented prices is not kept.

    Raises SourceError and ConfigurationError where the settings of that source cannot work.
    """
    for name in settings.source:
        if name in INVENTED:
            continue  # nor need what it is made of, the files of a replay, be where bars are fetched
        source = _source(name, settings, None)
        if isinstance(source, OandaSource):
            async with source:
                yield source
            return
        if isinstance(source, CandleSource):
            yield source
            return
    yield None


def _source(name: SourceName, settings: Settings, on_hole: Callable[[datetime, datetime], None] | None) -> PriceSource:
    pairs = TrackedPairs(settings.tracked_pairs)
    match name:
        case "oanda":
            return OandaSource(
                pairs,
                settings.oanda_secret,
                environment=settings.oanda_environment,
                account=settings.oanda_account,
                rest_url=settings.oanda_rest_url,
                stream_url=settings.oanda_stream_url,
                on_hole=on_hole,
            )
        case "kraken":
            return KrakenSource(pairs, url=settings.kraken_url, rest_url=settings.kraken_rest_url)
        case "ecb":
            return EcbSource(pairs, url=settings.frankfurter_url)
        case "replay":
            return ReplaySource(settings.replay_files, settings.replay_speed)
        case "simulated":
            return SimulatedSource(pairs, settings.simulated_seed, settings.simulated_rate)

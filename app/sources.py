"""The catalogue of providers: what is known of each source, and how to open it from the settings.

Everything else takes the traits from ``SOURCES`` and the sources from ``open_provider``. A new provider is added here, in
``app/config.py`` (its name and settings), and in a package of its own in ``app/providers``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias

from app.config import Settings, SourceName
from app.market.pair import TrackedPairs
from app.market.source import ProviderSource, Sources, SourceTraits
from app.providers import ecb, kraken, oanda, replay, simulated
from app.providers.ecb.source import EcbSource
from app.providers.kraken.source import KrakenSource
from app.providers.oanda.source import OandaSource
from app.providers.replay.source import ReplaySource
from app.providers.simulated.source import SimulatedSource

OnHole: TypeAlias = Callable[[datetime, datetime], None]
"""Called when a stream resumes, with the times of the last sign of life before the hole and the first after it."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider: the traits of its source, and a function that opens the source from the settings."""

    traits: SourceTraits
    open: Callable[[Settings, OnHole | None], ProviderSource]


def open_provider(name: SourceName, settings: Settings, on_hole: OnHole | None = None) -> ProviderSource:
    """Open the source of this name. Raises SourceError or ConfigurationError when its settings cannot work."""
    return _PROVIDERS[name].open(settings, on_hole)


def _oanda(settings: Settings, on_hole: OnHole | None) -> OandaSource:
    return OandaSource(
        TrackedPairs(settings.tracked_pairs),
        settings.oanda_secret,
        environment=settings.oanda_environment,
        account=settings.oanda_account,
        rest_url=settings.oanda_rest_url,
        stream_url=settings.oanda_stream_url,
        on_hole=on_hole,
    )


def _kraken(settings: Settings, _: OnHole | None) -> KrakenSource:
    return KrakenSource(TrackedPairs(settings.tracked_pairs), url=settings.kraken_url, rest_url=settings.kraken_rest_url)


def _ecb(settings: Settings, _: OnHole | None) -> EcbSource:
    return EcbSource(TrackedPairs(settings.tracked_pairs), url=settings.frankfurter_url)


def _replay(settings: Settings, _: OnHole | None) -> ReplaySource:
    return ReplaySource(settings.replay_files, settings.replay_speed, keeps_times=settings.keeps_recorded_times)


def _simulated(settings: Settings, _: OnHole | None) -> SimulatedSource:
    return SimulatedSource(TrackedPairs(settings.tracked_pairs), settings.simulated_seed, settings.simulated_rate)


_PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        provider.traits.name: provider
        for provider in (
            Provider(simulated.TRAITS, _simulated),
            Provider(replay.TRAITS, _replay),
            Provider(oanda.TRAITS, _oanda),
            Provider(kraken.TRAITS, _kraken),
            Provider(ecb.TRAITS, _ecb),
        )
    }
)

SOURCES = Sources(provider.traits for provider in _PROVIDERS.values())
"""The traits of every source that the gateway can open."""

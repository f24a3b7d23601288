"""The bridge: turns what other programs publish on Redis channels into events of the log."""

import logging
import sys
from collections import Counter

import orjson

from app.config import Settings
from app.errors import InvalidRequest
from app.market.pair import TrackedPairs
from app.quiet_log import by_client
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.publication import publication
from app.realtime.log.channels import Channels, open_channels
from app.realtime.log.log import EventLog, Publisher, open_redis
from app.run.process import run_job
from jobs.running.persistence import persistently

TYPE_OF_CHANNEL = {
    "price_updates": EventType.PRICE_UPDATE,
    "volatility_alerts": EventType.VOLATILITY_ALERT,
    "correlation_alerts": EventType.CORRELATION_ALERT,
    "data_ready": EventType.DATA_READY,
}

_LARGEST_MESSAGE = 65_536

_logger = logging.getLogger(__name__)


class Bridge:
    """Copies messages from channels to the log. ``carried`` and ``refused`` count them by channel."""

    def __init__(self, publisher: Publisher, pairs: TrackedPairs) -> None:
        self._publisher = publisher
        self._pairs = pairs
        self.carried: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    async def run(self, channels: Channels) -> None:
        """Run until cancelled. Raises LogUnavailable when the connection to Redis is lost."""
        while True:
            message = await channels.receive()
            if message is not None:
                await self.carry(*message)

    async def carry(self, channel: str, body: bytes) -> None:
        """Publish one message to the log; an invalid one is counted and skipped. Raises LogUnavailable."""
        try:
            if len(body) > _LARGEST_MESSAGE:
                raise InvalidRequest(f"larger than {_LARGEST_MESSAGE} bytes")
            draft = publication(TYPE_OF_CHANNEL[channel], orjson.loads(body), self._pairs)
        except (InvalidRequest, orjson.JSONDecodeError) as error:
            self.refused[channel] += 1
            _logger.warning("a message on channel %s is invalid and skipped: %s", channel, error, extra=by_client(None, channel))
            return
        await self._publisher.publish([draft])
        self.carried[channel] += 1


async def run(settings: Settings, redis_url: str) -> None:
    """Bridge the channels until cancelled, subscribing again whenever Redis comes back."""
    async with open_redis(redis_url) as redis:
        bridge = Bridge(EventLog(redis, settings.event_log_length).publisher(), TrackedPairs(settings.tracked_pairs))

        async def listen() -> None:
            async with open_channels(redis, list(TYPE_OF_CHANNEL)) as channels:
                await bridge.run(channels)

        await persistently(listen, "the bridge")


if __name__ == "__main__":
    sys.exit(run_job("bridge", run))

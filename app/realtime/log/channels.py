"""Redis pub/sub channels that other programs publish on."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from app.realtime.log.log import ask

_WAIT = 1.0
"""Seconds to wait for a message at a time."""


class Channels:
    """A subscription to channels. Redis pub/sub loses what is published while it is not connected."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub

    async def receive(self) -> tuple[str, bytes] | None:
        """Return the next message as channel and body, None if none arrives within a second. Raises LogUnavailable."""
        message = await ask(self._pubsub.get_message(ignore_subscribe_messages=True, timeout=_WAIT))
        return None if message is None else (message["channel"].decode(), message["data"])


@asynccontextmanager
async def open_channels(redis: Redis, names: Sequence[str]) -> AsyncGenerator[Channels]:
    """Subscribe to the channels, until leaving. Raises LogUnavailable."""
    pubsub = redis.pubsub()
    try:
        await ask(pubsub.subscribe(*names))
        yield Channels(pubsub)
    finally:
        await pubsub.aclose()  # type: ignore[no-untyped-call]

"""Everything in one command: the server and, beside it, every job that can also run as a process of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from app.config import Settings
from app.errors import DatabaseUnavailable
from app.run.embedded import private_valkey
from app.run.workers import listeners_of, server_on
from app.storage.database.database import open_database
from jobs import alerts, feed, pubsub_bridge, recorder, scheduler
from jobs.history import demonstration
from jobs.running.sources import open_source

_logger = logging.getLogger(__name__)


async def run_everything(settings: Settings, ready: Callable[[Sequence[str], str, bool], None]) -> None:
    """Serve until cancelled, on a private Valkey if the settings name no Redis.

    ``ready`` is called with the URLs of the server, the URL of Redis, and whether prices are simulated. Raises
    ConfigurationError and SourceError for settings that cannot work, and WorkersLost, also in an ExceptionGroup.
    """
    listeners = listeners_of(settings)
    simulated = open_source(settings).simulated
    async with AsyncExitStack() as stack:
        redis_url = settings.redis_address
        if redis_url is None:
            redis_url = await stack.enter_async_context(private_valkey(settings.data_dir))
        await _prepare_database(settings)
        started = asyncio.Event()

        def announce(urls: Sequence[str], redis_url: str = redis_url) -> None:
            ready(urls, redis_url, simulated)
            started.set()

        server = server_on(listeners, settings, redis_url, announce)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.run_until_stopped(), name="server")
            companions = [
                tasks.create_task(_after(started, partial(job.run, settings, redis_url)), name=job.__name__)
                for job in (feed, pubsub_bridge, recorder, alerts, scheduler)
            ]
            await serving
            for companion in companions:
                companion.cancel()


async def _prepare_database(settings: Settings) -> None:
    """Create the tables and, for simulated prices, history. The gateway also serves while the database is unavailable."""
    async with open_database(settings.database_address) as database:
        try:
            await database.migrate()
            await demonstration.fill(settings, database)
        except DatabaseUnavailable as error:
            _logger.warning("starting without history: %s", error)


async def _after(started: asyncio.Event, work: Callable[[], Awaitable[None]]) -> None:
    await started.wait()
    await work()

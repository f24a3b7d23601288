"""The migration of the database when a gateway starts, retried until the database answers."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from app.background import watched
from app.backoff import Backoff
from app.errors import DatabaseUnavailable
from app.storage.database.database import Database

_logger = logging.getLogger(__name__)


class Migration:
    """The migration of one database. A gateway serves prices before it is done, but no history."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._done = asyncio.Event()

    @property
    def done(self) -> bool:
        """True once the tables are up to date."""
        return self._done.is_set()

    async def wait(self) -> None:
        """Return once the tables are up to date."""
        await self._done.wait()

    async def ping(self) -> None:
        """Raises DatabaseUnavailable if the database does not answer or its tables are not up to date."""
        if not self.done:
            raise DatabaseUnavailable("The tables of the database are not up to date yet")
        await self._database.ping()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Migrate on entering or, if the database does not answer, retry in the background with backoff.

        Raises ConfigurationError for a database that newer code has migrated. If a retry finds that out, the process
        is stopped.
        """
        await self._attempt()
        if self.done:
            yield
        else:
            async with watched(self._retry(), "migration", endless=False):
                yield

    async def _retry(self) -> None:
        backoff = Backoff()
        while not self.done:
            await asyncio.sleep(backoff.pause_after(0))
            await self._attempt()

    async def _attempt(self) -> None:
        try:
            await self._database.migrate()
        except DatabaseUnavailable as error:
            _logger.warning("not ready: %s", error)
        else:
            self._done.set()

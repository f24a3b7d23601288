"""Tasks that are cancelled in the middle of a transaction."""

import asyncio
import random
from contextlib import suppress
from decimal import Decimal

from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.sources import SOURCES
from app.storage.database.database import open_database
from app.storage.recording import Batch, Recording, Tick


async def test_a_cancelled_writer_locks_no_other_out(database_url: str) -> None:
    chance = random.Random(7)
    async with open_database(database_url, answer_within=1) as database:
        await database.migrate()
        recording = Recording(database, SOURCES)
        for number in range(1000, 61_000, 1000):
            quote = Quote(CurrencyPair("EUR", "USD"), Decimal("1.1"), Decimal("1.2"), utc_now(), "oanda")
            batch = Batch(f"{number}-0", number, [Tick(f"{number - each}-0", quote) for each in range(300)])
            writing = asyncio.create_task(recording.write(batch))
            await asyncio.sleep(chance.uniform(0, 0.03))
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
            async with database.begin():
                pass

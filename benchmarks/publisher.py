"""Publish prices at a steady rate: ``python -m benchmarks.publisher REDIS_URL``.

It reads orders as JSON lines from standard input: ``publish`` with ``bursts``, ``burst`` (events published together, of the
pairs in turn) and ``rate`` (events per second). It answers with the time taken and, if the order has ``ids``, with the ids.
"""

import asyncio
import json
import random
import sys
from collections.abc import Iterator
from decimal import Decimal

from app.market.clock import utc_now
from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs
from app.market.quote import Quote
from app.realtime.contract.event import price_update
from app.realtime.log.log import EventLog, Publisher, open_redis


def quotes() -> Iterator[Quote]:
    """Yield invented quotes of the default pairs in turn, for ever."""
    while True:
        for pair in TrackedPairs(DEFAULT_PAIRS):
            bid = pair.round(_usual(pair) + pair.pip * random.randrange(100))
            yield Quote(pair, bid, bid + pair.pip, utc_now(), "benchmark")


async def obey(redis_url: str) -> None:
    """Carry out orders until standard input ends."""
    async with open_redis(redis_url) as redis:
        publisher = EventLog(redis).publisher()
        invented = quotes()
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            took, ids = await _publish(publisher, invented, order["bursts"], order["burst"], order["rate"])
            print(json.dumps({"took": took, "ids": ids if order.get("ids") else []}), flush=True)


async def _publish(
    publisher: Publisher, invented: Iterator[Quote], bursts: int, burst: int, rate: float
) -> tuple[float, list[str]]:
    """Publish each burst when it is due, and return when the next one would be."""
    ids: list[str] = []
    clock = asyncio.get_running_loop().time
    began = clock()
    for number in range(bursts):
        await asyncio.sleep(began + number * burst / rate - clock())
        ids += await publisher.publish([price_update(next(invented), utc_now()) for _ in range(burst)])
    await asyncio.sleep(began + bursts * burst / rate - clock())
    return clock() - began, ids


def _usual(pair: CurrencyPair) -> Decimal:
    return Decimal(150) if pair.quote == "JPY" else Decimal("1.1")


if __name__ == "__main__":
    asyncio.run(obey(sys.argv[1]))

"""The log: one ordered Redis stream that every event passes through once.

Keys: ``fx:events`` is the stream, ``fx:seq`` the last sequence number, ``price:EUR_USD`` the newest payload of a pair and
``fx:publisher:…`` the last batch of a publisher. An entry has the fields ``n`` (sequence number), ``t`` (type) and ``d``
(payload).
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.errors import ConfigurationError, LogUnavailable
from app.market.clock import rfc3339, utc_now
from app.realtime.contract.event import LARGEST_SEQUENCE, ORIGIN, Draft, Event, gap

_STREAM = "fx:events"
_SEQUENCE = "fx:seq"
_PUBLISHER_TTL = 3600
_ANSWER_WITHIN = 5.0
_MOST_DIGITS = len(str(LARGEST_SEQUENCE))

OnMalformed = Callable[[str, Mapping[bytes, bytes], Exception], None]
"""Takes the id and the fields of an entry that is no event, and why it is none. It must not raise."""

_logger = logging.getLogger(__name__)

# Publishing is idempotent. A batch whose answer was lost is sent again under its number, and gets the ids that it has. A batch
# older than the publisher's last, which a network may deliver long after the publisher gave it up, is not written.
_PUBLISH = """
local last = redis.call('HMGET', KEYS[3], 'batch', 'ids')
local ids = {}
if last[1] == ARGV[1] then
  for id in string.gmatch(last[2], '%S+') do ids[#ids + 1] = id end
  return ids
end
if last[1] and tonumber(last[1]) > tonumber(ARGV[1]) then return ids end
for i = 5, #ARGV, 3 do
  local n = redis.call('INCR', KEYS[1])
  local data = ARGV[i + 2]
  local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'n', n, 't', ARGV[i], 'd', data)
  local price = tonumber(ARGV[i + 1])
  if price > 0 then
    redis.call('SET', KEYS[price], '{"id":"' .. id .. '",' .. string.sub(data, 2), 'EX', ARGV[3])
  end
  ids[#ids + 1] = id
end
redis.call('HSET', KEYS[3], 'batch', ARGV[1], 'ids', table.concat(ids, ' '))
redis.call('EXPIRE', KEYS[3], ARGV[4])
return ids
"""

# Redis takes ids from its clock. If the stream is lost and the clock is behind, new ids would be lower than those that
# clients have seen. One entry with an explicit id lifts the stream past them.
_ADVANCE = """
local function order(id) return string.match(id, '(%d+)-(%d+)') end
local last = '0-0'
if redis.call('EXISTS', KEYS[2]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end
end
local ms, number = order(ARGV[1])
local last_ms, last_number = order(last)
ms, number, last_ms, last_number = tonumber(ms), tonumber(number), tonumber(last_ms), tonumber(last_number)
if ms < last_ms or (ms == last_ms and number <= last_number) then return false end
local n = redis.call('INCR', KEYS[1])
return redis.call('XADD', KEYS[2], string.format('%.0f-%.0f', ms, number + 1), 'n', n, 't', 'heartbeat', 'd', ARGV[2])
"""


@asynccontextmanager
async def open_redis(url: str) -> AsyncGenerator[Redis]:
    """Open a client of the Redis or Valkey at the URL, and close it on leaving. It connects when it is first used.

    Raises ConfigurationError for an invalid URL.
    """
    try:
        client = Redis.from_url(
            url,
            socket_timeout=_ANSWER_WITHIN,
            socket_connect_timeout=2.0,
            retry=Retry(NoBackoff(), 1),
            health_check_interval=30,
        )
        # Validates the options in the URL. This does not connect.
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (RedisError, TypeError, ValueError):
        raise ConfigurationError("REDIS_URL: not a URL of Redis: redis://, rediss:// or unix:// is needed") from None
    try:
        yield client
    finally:
        await client.aclose()


async def ask(answer: Awaitable[Any]) -> Any:
    """Await an answer of Redis, for five seconds at most. Raises LogUnavailable."""
    task = asyncio.current_task()
    cancelled_before = task.cancelling() if task is not None else 0
    failure: Exception | None = None
    answered = None
    try:
        # The timeouts of redis-py are for each step, and a command may take several: connect, health check, command.
        async with asyncio.timeout(_ANSWER_WITHIN):
            answered = await answer
    except (RedisError, OSError, TimeoutError) as error:
        failure = error
    # redis-py writes through asyncio.wait_for, which in Python 3.11 swallows a cancellation that arrives as the write ends.
    if task is not None and task.cancelling() > cancelled_before:
        raise asyncio.CancelledError
    if failure is not None:
        raise LogUnavailable(f"Redis does not answer: {type(failure).__name__}") from failure
    return answered


async def answers(url: str) -> bool:
    """Return whether a server at the URL answers and has loaded its data."""
    async with open_redis(url) as client:
        try:
            await ask(client.ping())
        except LogUnavailable:
            return False
        return True


async def shut_down(url: str) -> None:
    """Shut down the server at the URL, which saves its data, and wait until it has. Raises LogUnavailable if none answers."""
    async with open_redis(url) as client:
        await ask(client.ping())  # without a server ``shutdown`` succeeds: redis-py takes a lost connection for its answer
        await ask(client.shutdown())


class EventLog:
    """The stream of events: publishers append to it, one reader per process and replays read it."""

    def __init__(self, redis: Redis, retained: int = 100_000, price_ttl: int = 300) -> None:
        """``retained`` is roughly how many events are kept, ``price_ttl`` the lifetime of a ``price:`` key in seconds."""
        self._redis = redis
        self.retained = retained
        self.price_ttl = price_ttl
        self._publish = redis.register_script(_PUBLISH)
        self._advance = redis.register_script(_ADVANCE)

    def publisher(self) -> "Publisher":
        """Return a new publisher, whose batches are written exactly once."""
        return Publisher(self)

    def reader(self, cursor: str = ORIGIN, seq: int | None = None, on_malformed: "OnMalformed | None" = None) -> "LogReader":
        """Return a reader that begins after the cursor; ``seq`` is the cursor's sequence number, if known.

        ``on_malformed`` is called with each entry that is no event.
        """
        return LogReader(self, cursor, seq, on_malformed)

    async def append(self, publisher: str, batch: int, drafts: Sequence[Draft]) -> list[str]:
        """Append a batch in one atomic step and return its ids; for a batch that was appended before, the same ids.

        ``batch`` rises with each batch of a publisher. Raises LogUnavailable.
        """
        keys = [_SEQUENCE, _STREAM, f"fx:publisher:{publisher}"]
        arguments: list[str | int | bytes] = [batch, self.retained, self.price_ttl, _PUBLISHER_TTL]
        for draft in drafts:
            if draft.price_of is not None:
                keys.append(f"price:{draft.price_of}")
            arguments += [draft.type, len(keys) if draft.price_of is not None else 0, draft.data]
        ids = await ask(self._publish(keys=keys, args=arguments))
        return [id.decode() for id in ids]

    async def read(self, cursor: str, count: int, block_ms: int | None = None) -> list[tuple[str, dict[bytes, bytes]]]:
        """Return up to ``count`` raw entries after the cursor, waiting up to ``block_ms`` for the first.

        Raises LogUnavailable.
        """
        answer = await ask(self._redis.xread({_STREAM: cursor}, count=count, block=block_ms))
        if not answer:
            return []
        streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer]
        return [(id.decode(), fields) for entries in streams for id, fields in _flat(entries)]

    async def sequence_of(self, cursor: str) -> int | None:
        """Return the sequence number of the entry with this id, None if the log does not hold it. Raises LogUnavailable."""
        entries = await ask(self._redis.xrange(_STREAM, cursor, cursor))
        return _number(entries[0][1]) if entries else None

    async def tail(self) -> str:
        """Return the id of the newest entry, ORIGIN for an empty log. Raises LogUnavailable."""
        entries = await ask(self._redis.xrevrange(_STREAM, count=1))
        return entries[0][0].decode() if entries else ORIGIN

    async def size(self) -> tuple[int, int | None]:
        """Return how many entries the log holds and how many bytes they take, None if Redis refuses MEMORY USAGE.

        Raises LogUnavailable.
        """
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.xlen(_STREAM)
            pipeline.memory_usage(_STREAM)
            length, used = await ask(pipeline.execute(raise_on_error=False))
        if isinstance(length, Exception):
            raise LogUnavailable(f"Redis does not answer: {type(length).__name__}") from length
        return length, used if isinstance(used, int) else None

    async def starts_at_the_beginning(self) -> bool:
        """Return whether the log holds every event ever published, so that ORIGIN can be resumed from. Raises LogUnavailable."""
        entries = await ask(self._redis.xrange(_STREAM, count=1))
        if not entries:
            return not await ask(self._redis.exists(_SEQUENCE))
        return _number(entries[0][1]) == 1

    async def advance_past(self, cursor: str) -> None:
        """Make sure that the ids of new entries are above the cursor. Raises LogUnavailable."""
        data = b'{"node":"","role":"log","timestamp":"%s"}' % rfc3339(utc_now()).encode()
        await ask(self._advance(keys=[_SEQUENCE, _STREAM], args=[cursor, data]))

    async def ping(self) -> None:
        """Ping Redis. Raises LogUnavailable."""
        await ask(cast(Awaitable[Any], self._redis.ping()))

    async def reconnect(self) -> None:
        """Drop every connection to Redis; the next command opens a new one."""
        await self._redis.connection_pool.disconnect(inuse_connections=True)


class Publisher:
    """Appends batches to the log, each exactly once, even if Redis goes away and comes back meanwhile."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._name = secrets.token_hex(8)
        self._batch = 0
        self._one_at_a_time = asyncio.Lock()

    async def publish(self, drafts: Sequence[Draft], patience: float = 2.0) -> list[str]:
        """Append the events as one batch and return their ids, retrying with backoff for ``patience`` seconds.

        Raises LogUnavailable. Whether the batch was written is not known then, and another call is another batch. Batches of
        one publisher wait for each other.
        """
        if not drafts:
            return []
        async with self._one_at_a_time:
            self._batch += 1
            clock = asyncio.get_running_loop().time
            deadline, pause = clock() + patience, 0.05
            while True:
                try:
                    return await self._log.append(self._name, self._batch, drafts)
                except LogUnavailable:
                    if clock() + pause > deadline:
                        raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)


class LogReader:
    """Reads the log from a cursor and proves by the sequence numbers that nothing is missing.

    ``cursor`` and ``seq`` are the id and the sequence number that it has come to. ``malformed`` counts the entries that were
    skipped because they are no events.
    """

    def __init__(self, log: EventLog, cursor: str, seq: int | None, on_malformed: OnMalformed | None = None) -> None:
        self._log = log
        self._on_malformed = on_malformed
        self.cursor = cursor
        self.seq = seq
        self.malformed = 0

    async def read(self, count: int = 512, block_ms: int | None = None) -> list[Event]:
        """Return the next events, none if there are none yet. Where events are missing, a gap event stands for them.

        An entry that is no event is skipped with a warning. Raises LogUnavailable.
        """
        events: list[Event] = []
        for id, fields in await self._log.read(self.cursor, count, block_ms):
            try:
                event = Event.from_entry(id, int(fields[b"n"]), fields[b"t"].decode(), fields[b"d"])
            except (KeyError, ValueError, TypeError) as error:
                # Another program wrote to the stream. Do not trust a number that it has: the next event shows any gap.
                self.malformed += 1
                _logger.warning("skipping entry %s of the log: not an event", id)
                self.cursor = id
                if self._on_malformed is not None:
                    self._on_malformed(id, fields, error)
                continue
            if self.seq is not None and event.seq != self.seq + 1:
                events.append(gap(self.cursor, id, event.seq - self.seq - 1 if event.seq > self.seq else None))
            self.cursor, self.seq = id, event.seq
            events.append(event)
        return events


def _number(fields: Mapping[bytes, bytes]) -> int | None:
    """Return the sequence number of an entry, None if another program wrote it."""
    number = fields.get(b"n", b"")
    return int(number) if number.isdigit() and len(number) <= _MOST_DIGITS and int(number) <= LARGEST_SEQUENCE else None


def _flat(entries: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Return the entries of a stream. RESP3 nests them one list deeper than RESP2."""
    return cast(list[tuple[bytes, dict[bytes, bytes]]], entries[0] if entries and isinstance(entries[0], list) else entries)

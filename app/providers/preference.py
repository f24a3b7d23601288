"""Several sources at once, in order of preference: each pair gets the quotes of the best source that has it."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TypeAlias

from app.backoff import Backoff
from app.errors import SourceError, SourceRefused
from app.market.clock import utc_now
from app.market.hours.calendar import is_quoting
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.market.source import ProviderSource, SourceTraits

_MOST_WAITING = 2000
_MOST_BETWEEN_CHECKS = 0.5
_CHECKS_A_TERM = 20

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Switch:
    """Another source has become active, at an aware time. ``previous`` is None for the first one."""

    previous: str | None
    source: str
    reason: str
    time: datetime


@dataclass(frozen=True, slots=True)
class _Failure:
    """A source has stopped delivering, for now or for good."""

    reason: str
    for_good: bool


@dataclass(slots=True, eq=False)
class _Candidate:
    """A source and its state."""

    source: ProviderSource
    quiet_until: float
    """The time, by the clock, up to which its silence has been counted."""

    quiet: float = 0.0
    """Seconds of open market without a quote."""

    newest: dict[CurrencyPair, Quote] = field(default_factory=dict)
    heard: bool = False
    silent: bool = False
    failed: bool = False
    refused: bool = False
    handing_over: bool = False
    """True while a quote of its waits for room in the queue. It is not silent then, it is held up."""

    @property
    def quotes_now(self) -> bool:
        """True once it has quoted, and has neither fallen silent nor failed since."""
        return self.heard and not (self.silent or self.failed)


_Entry: TypeAlias = tuple[_Candidate, Quote | _Failure]


class PreferredSources:
    """Runs all its sources at once and passes on, for each pair, the quotes of the most preferred source that has the pair.

    A quote passes when every source preferred to its own is silent or has never quoted the pair. A source is silent when it has
    not quoted for ``silence`` seconds of its open market; a failed one, until it quotes again. A source of daily rates quotes
    nothing for hours and is never silent. For the first ``grace`` seconds, sources that have not quoted yet are waited for.

    When a source falls silent, the newest quotes of those that replace it follow at once. The times of a pair never go back:
    a rate of noon does not follow a price of the evening.

    An invented source, simulated or replayed, is the last resort: it comes after every real one, and its quotes pass only while
    it is active. No pair is therefore invented beside others that are real, not even one that no real source has.

    A source that fails is restarted with backoff; one that refuses us for good is not.

    ``name`` and ``simulated`` are those of the active source: the most preferred that is not silent, or, when all are silent, the
    last one that was active. Pairs that it lacks may come from another: every quote names its source.
    """

    def __init__(
        self,
        sources: Sequence[ProviderSource],
        *,
        silence: float = 30.0,
        grace: float = 10.0,
        is_open: Callable[[SourceTraits, datetime], bool] = is_quoting,
        on_switch: Callable[[Switch], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``sources`` have distinct names, most preferred first.

        ``is_open`` tells whether the market of a source is open at an aware time. ``on_switch`` is called when another source
        becomes active, before its first quote; it must not block. ``clock`` is in seconds. Raises ValueError for no sources, for
        two of one name, and for an invented source before a real one.
        """
        if not sources or len({source.name for source in sources}) < len(sources):
            raise ValueError("at least one source is needed, each with a name of its own")
        if any(source.traits.invented and not later.traits.invented for source, later in pairwise(sources)):
            raise ValueError("an invented source must come after every real one")
        self._sources = tuple(sources)
        self._silence = silence
        self._grace = grace
        self._is_open = is_open
        self._on_switch = on_switch
        self._clock = clock
        self._check_every = min(_MOST_BETWEEN_CHECKS, silence / _CHECKS_A_TERM, grace / _CHECKS_A_TERM)
        self._begin()

    @property
    def states(self) -> Mapping[str, str]:
        """The state of each source by name: ``active``, ``standby``, ``silent`` or ``refused``."""
        return {candidate.source.name: self._state(candidate) for candidate in self._candidates}

    @property
    def silent(self) -> bool:
        """True when none of the sources is quoting."""
        return all(self._state(candidate) in ("silent", "refused") for candidate in self._candidates)

    async def quotes(self) -> AsyncGenerator[Quote]:
        """Yield the quotes that pass, without end. Raises SourceRefused when every source has refused us for good."""
        self._begin()
        # Bounded: while the reader is held up, the sources wait for it and nothing is lost.
        waiting: asyncio.Queue[_Entry] = asyncio.Queue(_MOST_WAITING)
        running = asyncio.create_task(self._run_all(waiting))
        try:
            while not (running.done() and waiting.empty()):
                entry = await self._next(waiting)
                if entry is not None:
                    for quote in self._take(*entry):
                        yield quote
                if self._clock() >= self._next_check:
                    for quote in self._check():
                        yield quote
            running.result()
            raise SourceRefused(f"Every source refuses us: {', '.join(self._refusals)}")
        finally:
            running.cancel()
            await asyncio.wait([running])

    # ---------------------------------------------------------------- sources

    async def _run_all(self, waiting: asyncio.Queue[_Entry]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for candidate in self._candidates:
                tasks.create_task(self._run(candidate, waiting))

    async def _run(self, candidate: _Candidate, waiting: asyncio.Queue[_Entry]) -> None:
        """Carry the quotes of a source to the queue until it refuses us for good."""
        backoff, clock, name = Backoff(), asyncio.get_running_loop().time, candidate.source.name
        while True:
            started = clock()
            try:
                await self._carry(candidate, waiting)
                reason = "it has ended"
            except SourceRefused as error:
                _logger.error("source %s has refused us for good: %s", name, error)
                self._refusals.append(f"{name}: {error}")
                await waiting.put((candidate, _Failure(str(error), for_good=True)))
                return
            except SourceError as error:
                reason = str(error)
            except Exception as error:
                _logger.exception("source %s failed unexpectedly", name)
                reason = f"it failed with {type(error).__name__}"
            pause = backoff.pause_after(clock() - started)
            _logger.warning("source %s failed: %s; restarting in %.1f s", name, reason, pause)
            await waiting.put((candidate, _Failure(reason, for_good=False)))
            await asyncio.sleep(pause)

    async def _carry(self, candidate: _Candidate, waiting: asyncio.Queue[_Entry]) -> None:
        quotes = candidate.source.quotes()
        try:
            async for quote in quotes:
                candidate.handing_over = True
                await waiting.put((candidate, quote))
                candidate.handing_over = False
                candidate.quiet, candidate.quiet_until = 0.0, self._clock()
        finally:
            candidate.handing_over = False
            if isinstance(quotes, AsyncGenerator):
                await quotes.aclose()

    async def _next(self, waiting: asyncio.Queue[_Entry]) -> _Entry | None:
        """Return the next entry, or None if there is none before the next check is due."""
        if not waiting.empty():
            return waiting.get_nowait()
        try:
            async with asyncio.timeout(self._check_every):
                return await waiting.get()
        except TimeoutError:
            return None

    # ---------------------------------------------------------------- preference

    def _begin(self) -> None:
        """Reset the state of every source."""
        now = self._clock()
        self._candidates = [_Candidate(source, quiet_until=now) for source in self._sources]
        self._refusals: list[str] = []
        self._active: _Candidate | None = None
        self._grace_ends: float | None = now + self._grace
        self._next_check = now
        self._passed: dict[CurrencyPair, Quote] = {}
        self.name = self._sources[0].name
        self.simulated = self._sources[0].simulated

    def _take(self, candidate: _Candidate, news: Quote | _Failure) -> Iterator[Quote]:
        """Yield the quotes that pass now that a source has quoted or failed."""
        name = candidate.source.name
        if isinstance(news, _Failure):
            candidate.failed, candidate.refused = True, news.for_good
            yield from self._release(f"{name} {'refuses us' if news.for_good else 'failed'}: {news.reason}")
            return
        candidate.newest[news.pair] = news
        if not candidate.quotes_now:
            reason = f"{name} quotes again" if candidate.heard else f"{name} quotes"
            candidate.heard, candidate.silent, candidate.failed = True, False, False
            self._choose(reason)
        if not self._is_held_back(candidate, news.pair):
            yield from self._pass(news)

    def _check(self) -> Iterator[Quote]:
        """Count the silence of every source; yield the quotes that pass once that, or the grace period, has run out."""
        now, moment = self._clock(), utc_now()
        self._next_check = now + self._check_every
        reasons = []
        for candidate in self._candidates:
            elapsed, candidate.quiet_until = now - candidate.quiet_until, now
            traits = candidate.source.traits
            if not candidate.quotes_now or traits.daily or candidate.handing_over or not self._is_open(traits, moment):
                continue
            candidate.quiet += elapsed
            if candidate.quiet > self._silence:
                candidate.silent = True
                reasons.append(f"{traits.name} has not quoted for {self._silence:g} s")
        if self._grace_ends is not None and now >= self._grace_ends:
            late = [candidate.source.name for candidate in self._candidates if self._is_awaited(candidate)]
            self._grace_ends = None
            reasons += [f"{name} has not quoted in the first {self._grace:g} s" for name in late]
            yield from self._release("; ".join(reasons))
        elif reasons:
            yield from self._release("; ".join(reasons))

    def _release(self, reason: str) -> Iterator[Quote]:
        """Choose the active source for this reason, and yield the newest quotes that were held back until now."""
        self._choose(reason)
        for pair in dict.fromkeys(pair for candidate in self._candidates for pair in candidate.newest):
            for candidate in self._candidates:
                if candidate.quotes_now and pair in candidate.newest and not self._is_held_back(candidate, pair):
                    yield from self._pass(candidate.newest[pair])

    def _pass(self, quote: Quote) -> Iterator[Quote]:
        """Yield the quote, unless it or a later one of its pair has passed already."""
        last = self._passed.get(quote.pair)
        if last is None or (quote is not last and quote.time >= last.time):
            self._passed[quote.pair] = quote
            yield quote

    def _is_held_back(self, candidate: _Candidate, pair: CurrencyPair) -> bool:
        """Return True if a preferred source has the pair or may still get it; for an invented source, unless it is active."""
        if candidate.source.traits.invented:
            return candidate is not self._active
        preferred = self._candidates[: self._candidates.index(candidate)]
        return any(self._is_awaited(other) or (other.quotes_now and pair in other.newest) for other in preferred)

    def _is_awaited(self, candidate: _Candidate) -> bool:
        return self._grace_ends is not None and not (candidate.heard or candidate.failed)

    def _choose(self, reason: str) -> None:
        """Choose the active source, and report a change."""
        for candidate in self._candidates:
            if self._is_awaited(candidate):
                return
            if candidate.quotes_now:
                break
        else:
            return
        if candidate is self._active:
            return
        source, previous = candidate.source, self._active
        self._active, self.name, self.simulated = candidate, source.name, source.simulated
        switch = Switch(None if previous is None else previous.source.name, source.name, reason, utc_now())
        _logger.log(logging.INFO if previous is None else logging.WARNING, "source %s is active now: %s", source.name, reason)
        if self._on_switch is not None:
            self._on_switch(switch)

    def _state(self, candidate: _Candidate) -> str:
        if candidate.refused:
            return "refused"
        if not candidate.quotes_now and not self._is_awaited(candidate):
            return "silent"
        return "active" if candidate is self._active else "standby"

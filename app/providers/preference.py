"""Several sources at once, in an order of preference: each pair has the quotes of the best source that quotes it."""

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
    """Another source has become the active one, at a time that is aware; there was none before the first."""

    previous: str | None
    source: str
    reason: str
    time: datetime


@dataclass(frozen=True, slots=True)
class _Failure:
    """A source delivers no more: for now, or for good."""

    reason: str
    for_good: bool


@dataclass(slots=True, eq=False)
class _Candidate:
    """A source, and how it does."""

    source: ProviderSource
    quiet_until: float
    """Up to when, by the clock, its silence has been counted."""

    quiet: float = 0.0
    """Seconds of open market without a quote."""

    newest: dict[CurrencyPair, Quote] = field(default_factory=dict)
    heard: bool = False
    silent: bool = False
    failed: bool = False
    refused: bool = False
    handing_over: bool = False
    """Whether it has a quote for which the queue has no room: its silence is not its own then."""

    @property
    def quotes_now(self) -> bool:
        """True once it has quoted, and neither fallen silent nor failed since."""
        return self.heard and not (self.silent or self.failed)


_Entry: TypeAlias = tuple[_Candidate, Quote | _Failure]


class PreferredSources:
    """Runs all of its sources at once, and passes on of each pair the quotes of the most preferred source that has it.

    A quote passes where every source that is preferred to its own is silent or has never quoted the pair. A source is silent
    that has not quoted for ``silence`` seconds of its open market, and one that has failed, until it quotes again. One with
    daily rates has nothing to say for hours and is not silent for that. For the first ``grace`` seconds sources that have not
    quoted yet are waited for.

    When a source falls silent, the newest quotes of those that step in for it come at once. The times of a pair never go back,
    so a rate of noon is not told where a price of the evening was.

    An invented source, simulated or replayed, is the last resort: it comes after every real one, and its quotes pass only while
    it is the active one. So no pair is invented beside others that are real, not even one that no real source has.

    A source that fails is started again, sooner or later by chance; one that refuses us for good is not.

    ``active`` is the most preferred source that is not silent, and the last that was where all are; ``name`` and ``simulated``
    are its own. Pairs that it does not have may come from another all the same: every quote says from which.
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
        """The sources, the most preferred first, with names that differ.

        ``is_open`` says of the name of a source and an aware time whether its market is open then. ``on_switch`` is told when
        another source becomes the active one, before the first quote that this lets through; it must not block. ``clock`` is
        in seconds. Raises ValueError for sources that are none, not told apart by their names, or invented before a real one.
        """
        if not sources or len({source.name for source in sources}) < len(sources):
            raise ValueError("one source at least is needed, and each with a name of its own")
        if any(source.traits.invented and not later.traits.invented for source, later in pairwise(sources)):
            raise ValueError("an invented source has to come after every real one")
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
        """What each source is, by its name: ``active``, ``standby``, ``silent`` or ``refused``."""
        return {candidate.source.name: self._state(candidate) for candidate in self._candidates}

    @property
    def silent(self) -> bool:
        """True where none of the sources quotes."""
        return all(self._state(candidate) in ("silent", "refused") for candidate in self._candidates)

    async def quotes(self) -> AsyncGenerator[Quote]:
        """The quotes that pass, without end. Raises SourceRefused where every source refuses us for good."""
        self._begin()
        # Bounded, so that a reader that is held up for a while loses nothing and the sources wait for it.
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
        """Carry the quotes of a source to the queue, until it refuses us for good."""
        backoff, clock, name = Backoff(), asyncio.get_running_loop().time, candidate.source.name
        while True:
            started = clock()
            try:
                await self._carry(candidate, waiting)
                reason = "it has ended"
            except SourceRefused as error:
                _logger.error("source %s is given up: %s", name, error)
                self._refusals.append(f"{name}: {error}")
                await waiting.put((candidate, _Failure(str(error), for_good=True)))
                return
            except SourceError as error:
                reason = str(error)
            except Exception as error:
                _logger.exception("source %s failed unexpectedly", name)
                reason = f"it failed with {type(error).__name__}"
            pause = backoff.pause_after(clock() - started)
            _logger.warning("source %s failed: %s; started again in %.1f s", name, reason, pause)
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
        """What comes next, None where nothing does before the next check is due."""
        if not waiting.empty():
            return waiting.get_nowait()
        try:
            async with asyncio.timeout(self._check_every):
                return await waiting.get()
        except TimeoutError:
            return None

    # ---------------------------------------------------------------- preference

    def _begin(self) -> None:
        """Know nothing of any source."""
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
        """What passes now that a source has quoted or failed."""
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
        """Count the silence of every source; what passes where that, or the time of grace, is over."""
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
        """The newest quotes that were held back until now, for this reason."""
        self._choose(reason)
        for pair in dict.fromkeys(pair for candidate in self._candidates for pair in candidate.newest):
            for candidate in self._candidates:
                if candidate.quotes_now and pair in candidate.newest and not self._is_held_back(candidate, pair):
                    yield from self._pass(candidate.newest[pair])

    def _pass(self, quote: Quote) -> Iterator[Quote]:
        """The quote, unless it has passed already or a later one of its pair has."""
        last = self._passed.get(quote.pair)
        if last is None or (quote is not last and quote.time >= last.time):
            self._passed[quote.pair] = quote
            yield quote

    def _is_held_back(self, candidate: _Candidate, pair: CurrencyPair) -> bool:
        """True where a source preferred to this one has the pair, or may have it yet; an invented one where it is not active."""
        if candidate.source.traits.invented:
            return candidate is not self._active
        preferred = self._candidates[: self._candidates.index(candidate)]
        return any(self._is_awaited(other) or (other.quotes_now and pair in other.newest) for other in preferred)

    def _is_awaited(self, candidate: _Candidate) -> bool:
        return self._grace_ends is not None and not (candidate.heard or candidate.failed)

    def _choose(self, reason: str) -> None:
        """See which source is the active one now, and tell where it is another."""
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
        _logger.log(logging.INFO if previous is None else logging.WARNING, "prices are those of %s now: %s", source.name, reason)
        if self._on_switch is not None:
            self._on_switch(switch)

    def _state(self, candidate: _Candidate) -> str:
        if candidate.refused:
            return "refused"
        if not candidate.quotes_now and not self._is_awaited(candidate):
            return "silent"
        return "active" if candidate is self._active else "standby"

import asyncio
import itertools
from contextlib import aclosing

import pytest

from app.errors import SourceError, SourceRefused
from app.market.quote import QuoteKind
from app.market.source import PriceSource
from app.providers.preference import PreferredSources
from tests.providers.preferred import ToldSource, reading
from tests.waiting import wait_until


@pytest.fixture
def oanda() -> ToldSource:
    return ToldSource("oanda")


@pytest.fixture
def kraken() -> ToldSource:
    return ToldSource("kraken")


@pytest.fixture
def ecb() -> ToldSource:
    return ToldSource("ecb")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.backoff._SHORTEST_LIMIT", 0.05)


async def _said_all(*sources: ToldSource) -> None:
    await wait_until(lambda: all(source.has_said_all for source in sources), "all is said")


def test_is_a_source_like_its_first_until_one_has_quoted(oanda: ToldSource) -> None:
    source: PriceSource = PreferredSources([oanda, ToldSource("simulated")])
    assert (source.name, source.simulated) == ("oanda", False)


def test_sources_are_told_apart_by_their_names(oanda: ToldSource) -> None:
    with pytest.raises(ValueError, match="at least one source"):
        PreferredSources([])
    with pytest.raises(ValueError, match="a name of its own"):
        PreferredSources([oanda, ToldSource("oanda")])


@pytest.mark.parametrize("names", [["simulated", "oanda"], ["oanda", "replay", "kraken"], ["replay", "simulated", "ecb"]])
def test_an_invented_source_comes_after_every_real_one(names: list[str]) -> None:
    with pytest.raises(ValueError, match="an invented source must come after every real one"):
        PreferredSources([ToldSource(name) for name in names])


async def test_quotes_of_the_preferred_source_pass_and_those_of_others_for_what_it_has_not(
    oanda: ToldSource, kraken: ToldSource
) -> None:
    async with reading(oanda, kraken) as read:
        oanda.quote("EUR_USD", "1", 0)
        await read.until("oanda EUR_USD 1")
        kraken.quote("EUR_USD", "2", 1)
        kraken.quote("USD_JPY", "3", 1)
        await read.until("oanda EUR_USD 1", "kraken USD_JPY 3")
        # From the moment at which the preferred one has the pair too it is its own.
        oanda.quote("USD_JPY", "4", 2)
        await read.until("oanda EUR_USD 1", "kraken USD_JPY 3", "oanda USD_JPY 4")
        kraken.quote("USD_JPY", "5", 3)
        kraken.quote("GBP_USD", "6", 3)
        await read.until("oanda EUR_USD 1", "kraken USD_JPY 3", "oanda USD_JPY 4", "kraken GBP_USD 6")
        assert read.preferred.name == "oanda"
        assert read.preferred.states == {"oanda": "active", "kraken": "standby"}
    assert [(switch.previous, switch.source, switch.reason) for switch in read.switches] == [(None, "oanda", "oanda quotes")]


async def test_a_preferred_source_is_waited_for_during_the_time_of_grace(oanda: ToldSource, kraken: ToldSource) -> None:
    async with reading(oanda, kraken) as read:
        kraken.quote("EUR_USD", "1", 0)
        kraken.quote("EUR_USD", "2", 1)
        kraken.quote("USD_JPY", "3", 1)
        await _said_all(kraken)
        await read.pass_time(0.9)
        assert read.said == []
        assert read.preferred.states == {"oanda": "standby", "kraken": "standby"}
        assert read.preferred.name == "oanda"
        read.clock.now += 0.2
        await read.until("kraken EUR_USD 2", "kraken USD_JPY 3")
        assert read.preferred.states == {"oanda": "silent", "kraken": "active"}
        assert read.preferred.name == "kraken"
        kraken.quote("EUR_USD", "4", 2)
        await read.until("kraken EUR_USD 2", "kraken USD_JPY 3", "kraken EUR_USD 4")
    [switch] = read.switches
    assert (switch.previous, switch.source, switch.reason) == (None, "kraken", "oanda has not quoted in the first 1 s")
    assert switch.time.tzinfo is not None


async def test_what_only_a_fallback_has_is_held_back_no_longer_than_the_time_of_grace(
    oanda: ToldSource, kraken: ToldSource
) -> None:
    async with reading(oanda, kraken) as read:
        kraken.quote("EUR_USD", "1", 0)
        kraken.quote("GBP_JPY", "2", 0)
        await _said_all(kraken)
        oanda.quote("EUR_USD", "3", 0)
        await read.until("oanda EUR_USD 3")
        read.clock.now += 1.1
        await read.until("oanda EUR_USD 3", "kraken GBP_JPY 2")
    assert [switch.source for switch in read.switches] == ["oanda"]


async def test_a_fallback_steps_in_with_its_newest_quotes_when_the_preferred_source_falls_silent(
    oanda: ToldSource, kraken: ToldSource
) -> None:
    async with reading(oanda, kraken) as read:
        oanda.quote("EUR_USD", "1", 10)
        oanda.quote("USD_JPY", "2", 10)
        await read.until("oanda EUR_USD 1", "oanda USD_JPY 2")
        kraken.quote("EUR_USD", "3", 10)
        kraken.quote("EUR_USD", "4", 11)
        kraken.quote("USD_JPY", "5", 9)  # older than what has passed already
        await _said_all(kraken)
        await read.pass_time(2.9)
        assert len(read.said) == 2
        kraken.quote("EUR_USD", "6", 10)
        await _said_all(kraken)
        await read.pass_time(0.2)
        await read.until("oanda EUR_USD 1", "oanda USD_JPY 2", "kraken EUR_USD 6")
        assert read.preferred.states == {"oanda": "silent", "kraken": "active"}
        # The preferred one takes over again at once, for what it has; times do not go back.
        oanda.quote("EUR_USD", "7", 9)
        oanda.quote("EUR_USD", "8", 12)
        await read.until("oanda EUR_USD 1", "oanda USD_JPY 2", "kraken EUR_USD 6", "oanda EUR_USD 8")
        kraken.quote("USD_JPY", "9", 13)
        kraken.quote("GBP_USD", "1", 13)
        await read.until(*read.said[:4], "kraken GBP_USD 1")
        assert read.preferred.states == {"oanda": "active", "kraken": "standby"}
    assert [(switch.previous, switch.source, switch.reason) for switch in read.switches] == [
        (None, "oanda", "oanda quotes"),
        ("oanda", "kraken", "oanda has not quoted for 3 s"),
        ("kraken", "oanda", "oanda quotes again"),
    ]


async def test_closed_hours_are_no_silence(oanda: ToldSource, kraken: ToldSource) -> None:
    async with reading(oanda, kraken) as read:
        oanda.quote("EUR_USD", "1", 0)
        kraken.quote("EUR_USD", "2", 1)
        await read.until("oanda EUR_USD 1")
        await read.pass_time(2)
        read.closed.add("oanda")
        for _ in range(3):
            await read.pass_time(2)
            kraken.quote("EUR_USD", "3", 2)
            await _said_all(kraken)
        assert read.preferred.states == {"oanda": "active", "kraken": "standby"}
        read.closed.clear()
        await read.pass_time(0.9)
        assert read.preferred.states["oanda"] == "active"
        await read.pass_time(0.2)
        await read.until_state("oanda", "silent")
        await read.until("oanda EUR_USD 1", "kraken EUR_USD 3")


async def test_daily_rates_are_never_silent(oanda: ToldSource, ecb: ToldSource) -> None:
    async with reading(oanda, ecb) as read:
        oanda.quote("EUR_USD", "1", 0)
        ecb.quote("EUR_USD", "2", 1, QuoteKind.DAILY)
        await read.until("oanda EUR_USD 1")
        await read.pass_time(100)
        await read.until("oanda EUR_USD 1", "ecb EUR_USD 2")
        oanda.quote("EUR_USD", "3", 2)
        await read.until("oanda EUR_USD 1", "ecb EUR_USD 2", "oanda EUR_USD 3")
        await read.pass_time(100)
        assert read.preferred.states == {"oanda": "silent", "ecb": "active"}
        # A rate of noon does not follow a later price.
        assert len(read.said) == 3


async def test_a_failure_is_silence_at_once_and_the_source_is_started_again(oanda: ToldSource, kraken: ToldSource) -> None:
    async with reading(oanda, kraken) as read:
        oanda.quote("EUR_USD", "1", 0)
        await read.until("oanda EUR_USD 1")
        kraken.quote("EUR_USD", "2", 1)
        await _said_all(kraken)
        oanda.fail(SourceError("the line is cut"))
        await read.until("oanda EUR_USD 1", "kraken EUR_USD 2")
        assert read.preferred.states == {"oanda": "silent", "kraken": "active"}
        await wait_until(lambda: oanda.runs == 2, "it is started again")
        oanda.quote("EUR_USD", "3", 2)
        await read.until("oanda EUR_USD 1", "kraken EUR_USD 2", "oanda EUR_USD 3")
    assert [switch.reason for switch in read.switches][1:] == ["oanda failed: the line is cut", "oanda quotes again"]


@pytest.mark.parametrize("failure", [RuntimeError("a fault"), None, SourceError("down")])
async def test_any_failure_and_any_end_is_followed_by_another_attempt(
    oanda: ToldSource, failure: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with reading(oanda) as read:
        for run in (1, 2, 3):
            oanda.quote("EUR_USD", str(run), run)
            await wait_until(lambda run=run: len(read.quotes) == run, "a quote of every run")  # type: ignore[misc]
            oanda.end() if failure is None else oanda.fail(failure)
            await wait_until(lambda run=run: oanda.runs > run, "it is started again")  # type: ignore[misc]
        assert oanda.open == 1
    assert oanda.open == 0
    assert "source oanda failed" in caplog.text
    # Where all are silent the last active one stays, and comes back without a switch.
    assert len(read.switches) == 1


async def test_a_source_that_fails_before_its_first_quote_is_not_waited_for(oanda: ToldSource, kraken: ToldSource) -> None:
    async with reading(oanda, kraken) as read:
        kraken.quote("EUR_USD", "1", 0)
        await _said_all(kraken)
        oanda.fail(SourceError("down"))
        await read.until("kraken EUR_USD 1")
        assert read.preferred.states == {"oanda": "silent", "kraken": "active"}


async def test_a_source_that_refuses_us_is_out_for_good(oanda: ToldSource, kraken: ToldSource) -> None:
    async with reading(oanda, kraken) as read:
        oanda.quote("EUR_USD", "1", 0)
        await read.until("oanda EUR_USD 1")
        kraken.quote("EUR_USD", "2", 1)
        await _said_all(kraken)
        oanda.fail(SourceRefused("the token is wrong"))
        await read.until_state("oanda", "refused")
        await read.until("oanda EUR_USD 1", "kraken EUR_USD 2")
        kraken.fail(SourceError("down"))
        await wait_until(lambda: kraken.runs == 2, "the other is started again")
        assert oanda.runs == 1
        assert read.preferred.states == {"oanda": "refused", "kraken": "silent"}
    assert [switch.reason for switch in read.switches] == ["oanda quotes", "oanda refuses us: the token is wrong"]


async def test_where_every_source_refuses_us_so_do_they_together(oanda: ToldSource, kraken: ToldSource) -> None:
    preferred = PreferredSources([oanda, kraken])
    quotes = preferred.quotes()
    kraken.quote("EUR_USD", "1", 0)
    oanda.fail(SourceRefused("the token is wrong"))
    assert (await anext(quotes)).source == "kraken"
    kraken.fail(SourceRefused("not you"))
    with pytest.raises(SourceRefused, match="oanda: the token is wrong, kraken: not you"):
        await anext(quotes)
    assert preferred.states == {"oanda": "refused", "kraken": "refused"}


async def test_name_and_simulated_are_those_of_the_active_source(kraken: ToldSource) -> None:
    simulated = ToldSource("simulated")
    async with reading(kraken, simulated) as read:
        simulated.quote("EUR_USD", "1", 0)
        kraken.quote("EUR_USD", "2", 1)
        await read.until("kraken EUR_USD 2")
        assert (read.preferred.name, read.preferred.simulated) == ("kraken", False)
        simulated.quote("EUR_USD", "3", 2)
        kraken.fail(SourceError("down"))
        await read.until("kraken EUR_USD 2", "simulated EUR_USD 3")
        assert (read.preferred.name, read.preferred.simulated) == ("simulated", True)


async def test_invented_quotes_pass_for_no_pair_while_a_real_source_is_alive(oanda: ToldSource, kraken: ToldSource) -> None:
    simulated = ToldSource("simulated")
    async with reading(oanda, kraken, simulated) as read:
        oanda.quote("EUR_USD", "1", 0)
        simulated.quote("EUR_USD", "2", 0)
        simulated.quote("GBP_JPY", "3", 0)  # which no real source has
        await read.until("oanda EUR_USD 1")
        await _said_all(simulated)
        await read.pass_time(1.1)  # the time of grace is over
        kraken.quote("USD_JPY", "4", 1)
        await read.until("oanda EUR_USD 1", "kraken USD_JPY 4")
        oanda.fail(SourceError("down"))
        await read.until_state("kraken", "active")
        simulated.quote("EUR_USD", "5", 2)
        simulated.quote("GBP_JPY", "6", 2)
        await _said_all(simulated)
        assert len(read.said) == 2
        # The last real one is gone: the newest of all pairs, and whatever follows.
        kraken.fail(SourceError("down"))
        await read.until(*read.said[:2], "simulated EUR_USD 5", "simulated GBP_JPY 6")
        simulated.quote("USD_JPY", "7", 3)
        await read.until(*read.said[:4], "simulated USD_JPY 7")
        assert (read.preferred.name, read.preferred.simulated) == ("simulated", True)
        # One real quote of one pair, and nothing is invented any more.
        kraken.quote("USD_JPY", "8", 4)
        await read.until(*read.said[:5], "kraken USD_JPY 8")
        simulated.quote("GBP_JPY", "9", 5)
        simulated.quote("EUR_USD", "9", 5)
        await _said_all(simulated)
        kraken.quote("USD_JPY", "10", 5)
        await read.until(*read.said[:6], "kraken USD_JPY 10")
        assert read.preferred.states == {"oanda": "silent", "kraken": "active", "simulated": "standby"}
    assert [switch.source for switch in read.switches] == ["oanda", "kraken", "simulated", "kraken"]


async def test_invented_quotes_wait_for_every_real_source_during_the_time_of_grace(oanda: ToldSource, kraken: ToldSource) -> None:
    simulated = ToldSource("simulated")
    async with reading(oanda, kraken, simulated) as read:
        simulated.quote("EUR_USD", "1", 0)
        oanda.fail(SourceError("down"))
        await _said_all(simulated)
        await read.pass_time(0.9)
        assert read.said == []
        read.clock.now += 0.2
        await read.until("simulated EUR_USD 1")


async def test_of_two_invented_sources_only_the_active_one_passes(kraken: ToldSource) -> None:
    replay, simulated = ToldSource("replay"), ToldSource("simulated")
    async with reading(kraken, replay, simulated) as read:
        kraken.quote("EUR_USD", "1", 0)
        await read.until("kraken EUR_USD 1")
        replay.quote("EUR_USD", "2", 1)
        replay.quote("USD_JPY", "3", 1)
        simulated.quote("GBP_USD", "4", 1)
        await _said_all(replay, simulated)
        kraken.fail(SourceError("down"))
        await read.until("kraken EUR_USD 1", "replay EUR_USD 2", "replay USD_JPY 3")
        replay.end()
        await read.until(*read.said[:3], "simulated GBP_USD 4")


async def test_a_reader_that_leaves_stops_all_sources_and_may_come_back(oanda: ToldSource, kraken: ToldSource) -> None:
    preferred = PreferredSources([oanda, kraken])
    for run in (1, 2):
        oanda.quote("EUR_USD", str(run), 10 - run)
        async with aclosing(preferred.quotes()) as quotes, asyncio.timeout(10):
            assert (await anext(quotes)).bid == run
            assert (oanda.open, kraken.open) == (1, 1)
        assert (oanda.open, kraken.open) == (0, 0)
        assert (oanda.runs, kraken.runs) == (run, run)


async def test_a_reader_that_is_held_up_loses_nothing_and_makes_no_source_silent(oanda: ToldSource, kraken: ToldSource) -> None:
    count = 3000  # more than wait for the reader at once
    async with reading(oanda, kraken) as read:
        oanda.quote("EUR_USD", "0", 0)
        await read.until("oanda EUR_USD 0")
    preferred = PreferredSources([oanda, kraken], silence=0.3, grace=0.3)
    async with aclosing(preferred.quotes()) as quotes, asyncio.timeout(30):
        for number in range(count):
            oanda.quote("EUR_USD", str(number), number)
            kraken.quote("EUR_USD", str(number), number + 1)
        said = [await anext(quotes)]
        await asyncio.sleep(0.7)  # longer than the silence that counts
        assert not oanda.has_said_all
        said += [await anext(quotes) for _ in range(count - 1)]
    assert [quote.source for quote in said] == ["oanda"] * count
    assert [int(quote.bid) for quote in said] == list(range(count))
    assert all(one.time <= other.time for one, other in itertools.pairwise(said))

import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import orjson
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from app.errors import InvalidCursor
from app.market.pair import CurrencyPair
from app.market.quote import Quote, QuoteKind
from app.realtime.contract.catalogue import ALERTS, VISIBLE, EventType
from app.realtime.contract.event import (
    ORIGIN,
    Draft,
    Event,
    canonical_cursor,
    cursor_at,
    cursor_order,
    draft,
    gap,
    milliseconds,
    price_update,
    quote_of,
)
from app.realtime.contract.heartbeat import GatewayHeartbeat, heartbeat
from tests.building import (
    MOMENT,
    alert_event,
    correlation_event,
    cursor,
    event,
    price_draft,
    price_event,
    quote,
    ready_event,
)

_U64 = 2**64
_NUMBERS = st.one_of(st.integers(0, 3), st.integers(0, _U64 - 1), st.integers(_U64 - 3, _U64 - 1))
_ORDERS = st.tuples(_NUMBERS, _NUMBERS)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


# ------------------------------------------------------------------ cursors


@given(_ORDERS)
def test_a_cursor_and_its_numbers_say_the_same(order: tuple[int, int]) -> None:
    assert cursor_order("{}-{}".format(*order)) == order
    assert canonical_cursor("{}-{}".format(*order)) == "{}-{}".format(*order)


@given(st.one_of(st.text(), st.text("0123456789-"), st.from_regex(r"\d+-\d+", fullmatch=True)))
@example("1-1\n")
@example("٣-١")
@example("1-1-1")
@example("-1-1")
@example("+1-1")
@example(f"{_U64}-0")
@example(f"0-{_U64}")
@example("000000000000000000001-1")
@example("1764000000000")
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        order = cursor_order(text)
    except InvalidCursor:
        return
    ms, _, number = text.partition("-")
    assert order == (int(ms), int(number))
    assert all(0 <= part < _U64 for part in order)
    assert text.isascii()
    assert text.replace("-", "").isdigit()


@pytest.mark.parametrize("value", [None, 1764000000000, 1.5, b"1-1", ["1-1"], {"1-1": 1}, True])
def test_a_cursor_is_text(value: object) -> None:
    with pytest.raises(InvalidCursor, match=r"^Invalid cursor: the id of an event is needed, like 1764000000000-0$"):
        cursor_order(value)
    with pytest.raises(InvalidCursor):
        canonical_cursor(value)


def test_a_cursor_has_one_spelling_in_the_log() -> None:
    assert canonical_cursor("0001764000000000-00") == "1764000000000-0"
    assert canonical_cursor(ORIGIN) == ORIGIN


@given(orders=st.lists(_ORDERS, min_size=2, max_size=8, unique=True))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cursors_sort_as_redis_sorts_them(valkey_url: str, orders: list[tuple[int, int]]) -> None:
    assume((0, 0) not in orders)
    ordered = ["{}-{}".format(*order) for order in sorted(orders)]
    with Redis.from_url(valkey_url) as redis:
        redis.delete("stream")
        for id in ordered:
            assert redis.xadd("stream", {"n": 1}, id=id) == id.encode()  # refused unless above the last
        for after, id in itertools.pairwise(ordered):
            [(_, entries)] = redis.xread({"stream": after}, count=1)
            assert [found for found, _ in entries] == [id.encode()]
        assert all(cursor_order(low) < cursor_order(high) for low, high in itertools.pairwise(ordered))


# ------------------------------------------------------------ from an entry


def test_the_payload_is_the_id_and_what_was_published() -> None:
    data = b'{"colour":"blue","count":20}'
    event = Event.from_entry("1764000000000-3", 7, "news_of_tomorrow", data)
    assert event.payload == b'{"id":"1764000000000-3","colour":"blue","count":20}'
    assert event.bare == data
    assert event.body == {"colour": "blue", "count": 20}
    assert event.time == datetime(2025, 11, 24, 16, tzinfo=UTC)
    assert (event.id, event.order, event.seq) == ("1764000000000-3", (1764000000000, 3), 7)
    assert event.is_cursor


@given(
    st.dictionaries(st.text(), st.none() | st.integers(-9, 9) | st.text(), min_size=1),
    st.tuples(st.integers(0, 2**44), st.integers(0, 2**63 - 1)),
)
def test_a_payload_is_one_line_of_json_with_the_id_first(body: dict[str, object], order: tuple[int, int]) -> None:
    assume("id" not in body)
    id = "{}-{}".format(*order)
    event = Event.from_entry(id, 1, "news", orjson.dumps(body))
    assert (event.bare, event.body) == (orjson.dumps(body), body)
    assert list(orjson.loads(event.payload).items()) == [("id", id), *body.items()]
    assert len(event.payload.splitlines()) == 1


def test_a_price_or_a_volatility_alert_concerns_its_pair() -> None:
    assert price_event(1, "USD_JPY").pairs == ("USD_JPY",)
    assert alert_event(1, "USD_JPY").pairs == ("USD_JPY",)


def test_a_correlation_alert_concerns_both_pairs() -> None:
    assert correlation_event(1, "EUR_USD", "USD_JPY").pairs == ("EUR_USD", "USD_JPY")


def test_other_news_concern_everyone() -> None:
    assert ready_event(1).pairs == ()
    assert event(1, heartbeat(GatewayHeartbeat(node="a"))).pairs == ()
    assert Event.from_entry(cursor(1), 1, "news_of_tomorrow", b'{"instrument":"EUR_USD"}').pairs == ()


def test_clients_see_all_but_heartbeats() -> None:
    alerts = {"volatility_alert", "correlation_alert", "price_alert"}
    assert alerts | {"price_update", "data_ready", "source_changed", "feed_status", "gap"} == VISIBLE
    assert alerts == ALERTS


def test_the_first_event_is_a_cursor() -> None:
    assert price_event(1).is_cursor


def test_only_a_price_is_made_worthless_by_a_newer_one() -> None:
    assert price_event(1).is_price
    assert not any(event.is_price for event in (alert_event(1), correlation_event(1), ready_event(1)))


@pytest.mark.parametrize(
    ("seq", "type", "data"),
    [
        (1, "data_ready", b"{}"),
        (1, "data_ready", b""),
        (1, "data_ready", b"rubbish"),
        (1, "data_ready", b"null"),
        (1, "data_ready", b"[1]"),
        (1, "data_ready", b'{"a":1'),
        (1, "data_ready", b'{"a":NaN}'),
        (1, "data_ready", b'{"a":"\xff"}'),
        (1, "data_ready", b' {"a":1}'),
        (1, "data_ready", b'{"a":\n1}'),
        (1, "data_ready", b'{"a":1}\r'),
        (1, "data_ready", b"[" * 5000),
        (0, "data_ready", b'{"a":1}'),
        (-1, "data_ready", b'{"a":1}'),
        (1, "", b'{"a":1}'),
        (1, 'a","b', b'{"a":1}'),
        (1, "a\ndata: b", b'{"a":1}'),
        (1, "price_update", b'{"a":1}'),
        (1, "price_update", b'{"instrument":1}'),
        (1, "price_update", b'{"instrument":null}'),
        (1, "volatility_alert", b'{"instrument":["EUR_USD"]}'),
        (1, "correlation_alert", b'{"pair1":"EUR_USD"}'),
        (1, "correlation_alert", b'{"pair1":"EUR_USD","pair2":{}}'),
        (10**400, "news", b'{"a":1}'),
        (2**53, "news", b'{"a":1}'),
        (1, "n" * 101, b'{"a":1}'),
        (1, "news", b'{"a":"%s"}' % (b"x" * 65_536)),
        (1, "news", b'{"id":"2-0"}'),
        (1, "data_ready", b'{"a":1}'),
        (1, "heartbeat", b'{"node":"a"}'),
        (1, "heartbeat", b'{"node":"a","timestamp":"now"}'),
        (1, "heartbeat", b'{"node":"a","timestamp":"2026-02-30T00:00:00Z"}'),
        (1, "feed_status", b'{"source":{},"status":"silent","message":"","timestamp":"2026-01-31T09:30:00Z"}'),
        (1, "feed_status", b'{"source":"a\\u0000b","status":"silent","message":"","timestamp":"2026-01-31T09:30:00Z"}'),
        (1, "feed_status", b'{"source":"a","status":"silent","message":"\\u001b[2J","timestamp":"2026-01-31T09:30:00Z"}'),
        (1, "feed_status", b'{"source":"a","status":"silent","message":"\\ud800","timestamp":"2026-01-31T09:30:00Z"}'),
        (
            1,
            "feed_status",
            b'{"source":"a","status":"silent","message":"%s","timestamp":"2026-01-31T09:30:00Z"}' % (b"x" * 2001),
        ),
    ],
)
def test_what_no_publisher_writes_is_no_event(seq: int, type: str, data: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Event.from_entry(cursor(1), seq, type, data)


@pytest.mark.parametrize(
    "change",
    [
        {"instrument": "EUR_EUR"},
        {"instrument": "eur_usd"},
        {"price": None},
        {"price": {"bid": "1", "ask": "1", "mid": "1"}},
        {"bid": 1.1},
        {"bid": "1e5"},
        {"bid": "-1"},
        {"ask": "NaN"},
        {"mid": "0.00000"},
        {"mid": "1" * 30},
        {"ask": "1.1 1.2"},
        {"time": "2026-01-31"},
        {"time": "2026-02-30T09:30:00Z"},
        {"time": "0001-01-01T00:00:00Z"},
        {"time": "2026-01-31T09:30:00+01:00"},
        {"time": None},
        {"timestamp": 1764000000000},
        {"source": ""},
        {"source": "x" * 101},
        {"source": "a\0b"},
        {"source": {}},
        {"kind": "guessed"},
        {"kind": []},
        {"id": "1-0"},
    ],
)
def test_a_price_is_checked_member_by_member(change: dict[str, object]) -> None:
    body = orjson.loads(price_draft().data)
    Event.from_entry(cursor(1), 1, "price_update", orjson.dumps(body | {"kind": "daily", "news": 1}))
    body["price"] |= {name: value for name, value in change.items() if name in body["price"]}
    body |= {name: value for name, value in change.items() if name not in ("bid", "ask", "mid", "time")}
    with pytest.raises((ValueError, KeyError, TypeError)):
        Event.from_entry(cursor(1), 1, "price_update", orjson.dumps(body))


@pytest.mark.parametrize("id", ["32503680000000-0", "18446744073709551615-0", f"1764000000000-{2**63}"])
def test_an_id_that_stands_for_no_time_is_not_read(id: str) -> None:
    with pytest.raises(ValueError, match="not an id of this era"):
        Event.from_entry(id, 1, "news", b'{"a":1}')


@given(
    st.sampled_from(["EUR_USD", "USD_JPY"]), st.decimals(Decimal("0.001"), Decimal(99999), places=7), st.sampled_from(QuoteKind)
)
def test_a_quote_comes_back_as_it_was_published(pair: str, bid: Decimal, kind: QuoteKind) -> None:
    named = CurrencyPair.parse(pair)
    given = Quote(named, named.round(bid), named.round(bid + 1), MOMENT, "oanda", kind)
    assert quote_of(event(1, price_update(given, MOMENT))) == given


def test_a_time_is_a_cursor_before_what_was_written_then() -> None:
    assert cursor_at(event(1, price_draft()).time) == cursor(1)
    assert cursor_at(datetime(1960, 1, 1, tzinfo=UTC)) == ORIGIN
    assert milliseconds(MOMENT) == 1769851800123


def test_an_event_needs_the_id_of_an_entry() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Event.from_entry("7", 1, "news", b'{"a":1}')


def test_without_its_cursor_an_event_is_no_place_to_resume_from() -> None:
    event = price_event(5)
    stripped = event.without_cursor()
    assert stripped.payload == event.bare
    assert "id" not in orjson.loads(stripped.payload)
    assert not stripped.is_cursor
    assert (stripped.order, stripped.type, stripped.pairs) == (event.order, event.type, event.pairs)
    assert event.is_cursor
    assert event.payload != event.bare


def test_two_events_are_never_the_same_one() -> None:
    assert price_event(1) != price_event(1)
    assert len({price_event(1), price_event(1)}) == 2


# ------------------------------------------------------------------- drafts


def test_a_price_update_is_these_bytes() -> None:
    assert price_update(quote("EUR_USD", "1.0945", "1.0947", "oanda"), MOMENT + timedelta(seconds=1)) == Draft(
        "price_update",
        b'{"instrument":"EUR_USD","price":{"bid":"1.09450","ask":"1.09470","mid":"1.09460",'
        b'"time":"2026-01-31T09:30:00.123456Z"},"source":"oanda","timestamp":"2026-01-31T09:30:01.123456Z"}',
        "EUR_USD",
    )


@pytest.mark.parametrize(
    ("pair", "bid", "ask", "texts"),
    [
        ("EUR_USD", "1.1", "1.2", ("1.10000", "1.20000", "1.15000")),
        ("EUR_USD", "1.094501", "1.094509", ("1.09450", "1.09451", "1.094505")),
        ("EUR_USD", "1.00000", "1.00001", ("1.00000", "1.00001", "1.000005")),
        ("EUR_USD", "1.00001", "1.00002", ("1.00001", "1.00002", "1.000015")),
        ("USD_JPY", "156.1234", "156.1266", ("156.123", "156.127", "156.125")),
        ("EUR_USD", "1E+2", "1E+2", ("100.00000", "100.00000", "100.00000")),
    ],
)
def test_prices_have_the_precision_of_their_pair(pair: str, bid: str, ask: str, texts: tuple[str, ...]) -> None:
    price = orjson.loads(price_update(quote(pair, bid, ask), MOMENT).data)["price"]
    assert (price["bid"], price["ask"], price["mid"]) == texts


@given(st.decimals(Decimal("0.001"), Decimal(99999), places=7), st.decimals(0, 9, places=7))
def test_a_price_is_never_more_than_half_a_point_from_its_quote_and_its_mid_is_exact(bid: Decimal, spread: Decimal) -> None:
    given = Quote(CurrencyPair("EUR", "USD"), bid, bid + spread, MOMENT, "replay")
    price = orjson.loads(price_update(given, MOMENT).data)["price"]
    for text, exact in ((price["bid"], given.bid), (price["ask"], given.ask), (price["mid"], given.mid)):
        assert abs(Decimal(text) - exact) <= Decimal("0.000005")
    assert [len(price[side].partition(".")[2]) for side in ("bid", "ask")] == [5, 5]
    assert len(price["mid"].partition(".")[2]) == 5 + (price["mid"][-1] == "5" and (Decimal(price["mid"]) * 10**5 % 1 != 0))
    assert 2 * Decimal(price["mid"]) == Decimal(price["bid"]) + Decimal(price["ask"])


def test_a_quote_unlike_others_says_of_what_kind_it_is() -> None:
    given = Quote(CurrencyPair("GBP", "JPY"), Decimal("191.4"), Decimal("191.5"), MOMENT, "kraken", QuoteKind.SYNTHETIC)
    body = orjson.loads(price_update(given, MOMENT).data)
    assert body["kind"] == "synthetic"
    assert "kind" not in orjson.loads(price_update(replace(given, kind=QuoteKind.QUOTED), MOMENT).data)


def test_times_are_written_in_utc() -> None:
    eastern = datetime(2026, 1, 31, 4, 30, tzinfo=timezone(timedelta(hours=-5)))
    late = Quote(CurrencyPair("EUR", "USD"), Decimal(1), Decimal(1), eastern, "replay")
    body = orjson.loads(price_update(late, datetime(2026, 1, 31, 9, 31, tzinfo=UTC)).data)
    assert body["price"]["time"] == "2026-01-31T09:30:00.000000Z"
    assert body["timestamp"] == "2026-01-31T09:31:00.000000Z"


def test_only_the_draft_of_a_price_is_kept_under_its_pair() -> None:
    body = {"instrument": "EUR_USD"}
    assert draft(EventType.PRICE_UPDATE, body) == Draft("price_update", b'{"instrument":"EUR_USD"}', "EUR_USD")
    assert draft(EventType.VOLATILITY_ALERT, body) == Draft("volatility_alert", b'{"instrument":"EUR_USD"}', None)
    assert draft(EventType.DATA_READY, {"count": 1}).price_of is None


# --------------------------------------------------------------------- gaps


@pytest.mark.parametrize(("missed", "message"), [(3, "3 events were lost"), (None, "Events were lost between these cursors")])
def test_a_gap_tells_between_which_cursors_and_is_no_cursor_itself(missed: int | None, message: str) -> None:
    notice = gap("5-0", "9-1", missed)
    body = orjson.loads(notice.payload)
    assert list(body) == ["after", "before", "missed", "message", "timestamp"]
    assert (body["after"], body["before"], body["missed"], body["message"]) == ("5-0", "9-1", missed, message)
    assert _RFC3339.fullmatch(body["timestamp"])
    assert (notice.type, notice.order, notice.pairs) == ("gap", (9, 1), ())
    assert not notice.is_cursor
    assert not notice.is_price
    assert notice.without_cursor().payload == notice.payload

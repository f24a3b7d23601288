import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.errors import InvalidPair, InvalidRequest
from app.market.clock import parse_time, utc_now
from app.market.pair import DEFAULT_PAIRS, TrackedPairs
from app.realtime.contract.catalogue import PAYLOADS, EventType
from app.realtime.contract.event import Draft, Event
from app.realtime.contract.publication import publication

_PAIRS = TrackedPairs(DEFAULT_PAIRS)
_TIME = "2025-11-18T12:34:56.789123Z"
_NAN = float("nan")
_TYPES = (EventType.PRICE_UPDATE, EventType.VOLATILITY_ALERT, EventType.CORRELATION_ALERT, EventType.DATA_READY)

PRICE = {"instrument": "EUR_USD", "bid": 1.1, "ask": 1.2}
VOLATILITY = {"instrument": "EUR_USD", "volatility": 0.0234, "threshold": 0.02}
CORRELATION = {"pair1": "EUR_USD", "pair2": "USD_JPY", "correlation": -0.82, "threshold": 0.7}


def published(type: str, data: object) -> dict[str, Any]:
    """The payload that a publication becomes."""
    body: dict[str, Any] = orjson.loads(publication(type, data, _PAIRS).data)
    return body


def check(type: str, draft: Draft) -> None:
    """A draft has to be what the contract says of its type, down to times that can be read again."""
    assert draft.type == type
    event = Event.from_entry("1764000000000-0", 1, draft.type, draft.data)
    PAYLOADS[EventType(type)].model_validate_json(event.payload, strict=True)
    assert set(event.pairs) <= set(_PAIRS.names)
    body = orjson.loads(draft.data)
    parse_time(body["timestamp"])
    if type == EventType.PRICE_UPDATE:
        assert draft.price_of == body["instrument"]
        parse_time(body["price"]["time"])
        bid, mid, ask = (Decimal(body["price"][name]) for name in ("bid", "mid", "ask"))
        assert 0 < bid <= mid <= ask


# -------------------------------------------------------------------- anything

_NUMBERS = st.one_of(
    st.integers(-2, 2),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.floats(0.9, 1.1),
    st.sampled_from([0.0, -0.0, 1e-10, 1e17, 1e308, 5e-324]),
)
_TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["EUR_USD", "USD/JPY", "eurusd", "XAU_USD", "prices", "critical", "info", "x" * 600, "\0", "\u2028"]),
    st.sampled_from(["1.1", "NaN", "-Infinity", "1e5", "9" * 30, "9" * 5000, "1E+999999999", "1e-999999999", "١.٢", ""]),
    st.sampled_from([_TIME, "2025-11-18T12:34:56", "0001-01-01T00:00:00Z", "1700000000", "20251118T123456+0100"]),
    st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "0999-12-31T23:59:59Z"]),
)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(_TEXTS, values, max_size=3),
    max_leaves=6,
)
_TIMES = st.datetimes(timezones=st.timezones()).map(lambda time: time.isoformat()) | _TEXTS | _NUMBERS
_PRICES = st.fixed_dictionaries({"bid": st.floats(1, 1.05), "ask": st.floats(1.05, 1.1)}, optional={"time": _TIMES})
_GOOD: dict[EventType, st.SearchStrategy[dict[str, Any]]] = {
    EventType.PRICE_UPDATE: st.one_of(_PRICES, _PRICES.map(lambda price: {"price": price})),
    EventType.VOLATILITY_ALERT: st.just(VOLATILITY),
    EventType.CORRELATION_ALERT: st.just(CORRELATION),
    EventType.DATA_READY: st.just({"data_type": "prices"}),
}
_NAMES = st.sampled_from(
    ["instrument", "pair1", "pair2", "price", "bid", "ask", "mid", "time", "timestamp", "volatility", "threshold",
     "correlation", "severity", "data_type", "count", "message", "source", "id"]
)  # fmt: skip
_CHANGES = st.dictionaries(_NAMES, _JSON | _TIMES | _PRICES, max_size=3)
_LIKELY = st.sampled_from(_TYPES).flatmap(
    lambda type: st.tuples(
        st.just(type), st.builds(lambda good, changes: {"instrument": "EUR_USD"} | good | changes, _GOOD[type], _CHANGES)
    )
)


@given(_LIKELY | st.tuples(st.sampled_from(_TYPES), _JSON))
@example((EventType.DATA_READY, {"data_type": "prices", "count": "9" * 30}))
@example((EventType.DATA_READY, {"data_type": "prices", "timestamp": "0001-01-01T00:00:00+23:59"}))
@example((EventType.PRICE_UPDATE, {"instrument": "EUR_USD", "bid": 1, "ask": 1, "time": "9999-12-31T23:59:59-23:59"}))
@example((EventType.PRICE_UPDATE, {"instrument": "EUR_USD", "bid": 1, "ask": 1, "time": "0999-12-31T23:59:59Z"}))
@example((EventType.PRICE_UPDATE, {"instrument": "EUR_USD", "bid": 1e-10, "ask": 1}))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_anything_becomes_a_proper_event_or_is_refused(message: tuple[EventType, object]) -> None:
    type, data = message
    try:
        draft = publication(type, data, _PAIRS)
    except InvalidRequest as error:
        assert 0 < len(str(error)) < 200, "one sentence to whoever published it"  # noqa: PT017
    else:
        check(type, draft)


@given(st.text() | st.sampled_from(["gap", "heartbeat", "PRICE_UPDATE"]))
def test_other_types_are_refused(type: str) -> None:
    if type not in _TYPES:
        with pytest.raises(InvalidRequest, match="^" + re.escape(f"Invalid type: {type[:40]}")):
            publication(type, VOLATILITY, _PAIRS)


# ---------------------------------------------------------------------- prices


def test_a_nested_price_is_published_as_it_is() -> None:
    price = {"bid": "1.09450", "ask": "1.09470", "mid": "1.0946", "time": "2025-11-18T12:30:00Z"}
    data = {"instrument": "EUR_USD", "price": price, "source": "oanda", "timestamp": _TIME}
    assert published("price_update", data) == {
        "instrument": "EUR_USD",
        "price": {"bid": "1.09450", "ask": "1.09470", "mid": "1.09460", "time": "2025-11-18T12:30:00.000000Z"},
        "source": "oanda",
        "timestamp": _TIME,
    }


def test_a_flat_price_is_published_as_a_nested_one() -> None:
    data = {"instrument": "eur/usd", "bid": "1.0945", "ask": "1.0947", "time": "2025-11-18T12:30:00Z", "timestamp": _TIME}
    nested = {"instrument": "EUR_USD", "price": {name: data[name] for name in ("bid", "ask", "time")}, "timestamp": _TIME}
    assert published("price_update", data) == published("price_update", nested)
    assert published("price_update", data)["source"] == "external"


@pytest.mark.parametrize(
    ("number", "text"),
    [("1.0945", "1.09450"), ("1.1", "1.10000"), ("0.1", "0.10000"), ("1.00005", "1.00005"), ("1", "1.00000"),
     ("1e-5", "0.00001"), ("4.35", "4.35000"), ("100000.00001", "100000.00001"),
     ("123456789012345678", "123456789012345678.00000")],
)  # fmt: skip
def test_a_price_that_is_a_number_keeps_its_digits(number: str, text: str) -> None:
    data = orjson.loads(f'{{"instrument":"EUR_USD","bid":{number},"ask":{number}}}')
    assert published("price_update", data)["price"]["bid"] == text


@given(st.decimals(Decimal("0.00001"), Decimal(9999), places=5))
def test_numbers_and_texts_are_the_same_price(price: Decimal) -> None:
    as_text = {"instrument": "EUR_USD", "price": {"bid": str(price), "ask": str(price), "time": _TIME}, "timestamp": _TIME}
    as_number = as_text | {"price": {"bid": float(price), "ask": float(price), "time": _TIME}}
    assert published("price_update", as_text) == published("price_update", as_number)
    assert published("price_update", as_text)["price"]["bid"] == f"{price:.5f}"


@pytest.mark.parametrize("flat", [True, False])
def test_times_that_are_missing_are_now(flat: bool) -> None:
    price = {"bid": 1, "ask": 1}
    before = utc_now()
    body = published("price_update", {"instrument": "EUR_USD", **(price if flat else {"price": price})})
    assert before <= parse_time(body["price"]["time"]) <= parse_time(body["timestamp"]) <= utc_now()


@pytest.mark.parametrize(
    ("bid", "ask", "message"),
    [
        ("1.2", "1.1", "price: the bid is above the ask"),
        ("0", "1", "price.bid: Input should be greater than 0"),
        (-1, 1, "price.bid: Input should be greater than 0"),
        ("NaN", "NaN", "price.bid: Input should be a finite number"),
        ("1", "Infinity", "price.ask: Input should be a finite number"),
        (float("nan"), 1, "price.bid: Input should be a finite number"),
        (1, float("inf"), "price.ask: Input should be a finite number"),
        ("1E+18", "1E+18", "price.bid: Decimal input should have no more than 18 digits in total"),
        (1, "1.0000000000000000001", "price.ask: Decimal input should have no more than 18 digits in total"),
        ("0.000004", "1", "price.bid: nothing is left of it at the 5 decimals of EUR_USD"),
        (None, 1, "price.bid: Decimal input should be an integer, float, string or Decimal object"),
        (True, 1, "price.bid: Decimal input should be an integer, float, string or Decimal object"),
        ("much", 1, "price.bid: Input should be a valid decimal"),
    ],
)
def test_a_price_that_cannot_be_is_refused(bid: object, ask: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{re.escape(message)}$"):
        publication("price_update", {"instrument": "EUR_USD", "price": {"bid": bid, "ask": ask}}, _PAIRS)


@pytest.mark.parametrize("source", ["", "x" * 41, 7, None])
def test_a_source_is_a_short_text(source: object) -> None:
    with pytest.raises(InvalidRequest, match=r"^source: "):
        publication("price_update", {"instrument": "EUR_USD", "bid": 1, "ask": 1, "source": source}, _PAIRS)


# ---------------------------------------------------------------------- alerts


def test_an_alert_gets_the_words_of_the_contract() -> None:
    body = published("volatility_alert", {**VOLATILITY, "timestamp": _TIME})
    words = {"severity": "warning", "message": "Volatility (0.0234) exceeded threshold (0.02)", "timestamp": _TIME}
    assert body == {**VOLATILITY, **words}
    body = published("correlation_alert", {**CORRELATION, "timestamp": _TIME})
    words = {"severity": "info", "message": "Correlation between EUR_USD and USD_JPY changed to -0.82", "timestamp": _TIME}
    assert body == {**CORRELATION, **words}
    body = published("data_ready", {"data_type": "prices", "count": 20, "timestamp": _TIME})
    assert body == {
        "data_type": "prices",
        "count": 20,
        "message": "prices data updated (20 records)",
        "timestamp": _TIME,
    }


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("volatility_alert", VOLATILITY | {"severity": "critical"}),
        ("correlation_alert", CORRELATION | {"severity": "critical"}),
        ("data_ready", {"data_type": "candles", "count": 3}),
    ],
)
def test_the_publishers_own_words_are_kept_and_its_other_members_are_not(type: str, data: dict[str, object]) -> None:
    given = data | {"message": "Mind\nthe “gap”", "timestamp": "2025-11-18T13:34:56.789123+01:00"}
    assert published(type, given | {"id": "9-9", "extra": 1}) == given | {"timestamp": _TIME}


@pytest.mark.parametrize("type", _TYPES)
def test_what_is_no_object_is_refused(type: EventType) -> None:
    for data in (None, list[int](), "text", 1, True, dict[str, int]()):
        with pytest.raises(InvalidRequest):
            publication(type, data, _PAIRS)


@pytest.mark.parametrize(
    ("type", "data", "message"),
    [
        ("volatility_alert", VOLATILITY | {"volatility": _NAN}, "volatility: Input should be a finite number"),
        ("volatility_alert", VOLATILITY | {"volatility": "0.1"}, "volatility: Input should be a valid number"),
        ("volatility_alert", VOLATILITY | {"threshold": True}, "threshold: Input should be a valid number"),
        ("volatility_alert", VOLATILITY | {"severity": "bad"}, "severity: Input should be 'info', 'warning' or 'critical'"),
        ("volatility_alert", VOLATILITY | {"message": "x" * 501}, "message: String should have at most 500 characters"),
        ("correlation_alert", CORRELATION | {"correlation": 1.01}, "correlation: Input should be less than or equal to 1"),
        ("correlation_alert", CORRELATION | {"correlation": _NAN}, "correlation: Input should be less than or equal to 1"),
        ("data_ready", {"data_type": "prices", "count": -1}, "count: Input should be greater than or equal to 0"),
        ("data_ready", {"data_type": "prices", "count": 2**53}, "count: too large"),
        ("data_ready", {"data_type": "prices", "count": False}, "count: a whole number is needed"),
        ("data_ready", {"data_type": "prices", "count": "5"}, "count: a whole number is needed"),
        ("data_ready", {"data_type": "prices", "timestamp": "2999-12-31T23:59:59-01:00"}, "a time is after the year 2999"),
        ("price_update", PRICE | {"source": "a\nb"}, "source: printable text is needed"),
        ("data_ready", {"data_type": "prices", "timestamp": "1000-01-01T00:00:00+01:00"}, "a time is before the year 1000"),
        *(
            ("data_ready", {"data_type": "prices", "timestamp": time}, "timestamp: RFC 3339 is needed")
            for time in (0, "1769817600", "2026-01-31", "2026-W05-6T00:00:00Z", "0999-01-01T00:00:00Z", "2026-01-31T24:00:00Z")
        ),
    ],
)  # fmt: skip
def test_a_member_that_cannot_be_is_named(type: str, data: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{re.escape(message)}$"):
        publication(type, data, _PAIRS)


def test_the_largest_count_and_the_earliest_time_are_used() -> None:
    body = published("data_ready", {"data_type": "prices", "count": 2**53 - 1, "timestamp": "1000-01-01T00:00:00Z"})
    assert (body["count"], body["timestamp"]) == (9007199254740991, "1000-01-01T00:00:00.000000Z")


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("price_update", {"instrument": "XAU_USD", "bid": 1, "ask": 1}),
        ("volatility_alert", VOLATILITY | {"instrument": "nonsense"}),
        ("correlation_alert", CORRELATION | {"pair1": "XAU_USD"}),
        ("correlation_alert", CORRELATION | {"pair2": "EUR/USD"}),
    ],
)
def test_pairs_have_to_be_tracked_and_different(type: str, data: object) -> None:
    with pytest.raises(InvalidPair):
        publication(type, data, _PAIRS)


def test_times_without_an_offset_are_utc() -> None:
    price = {"bid": "1.1", "ask": "1.2", "time": "2025-11-18T12:34:56"}
    body = published("price_update", {"instrument": "EUR_USD", "price": price, "timestamp": "2025-11-18T12:34:57.5"})
    assert body["price"]["time"] == "2025-11-18T12:34:56.000000Z"
    assert body["timestamp"] == "2025-11-18T12:34:57.500000Z"


def test_a_price_from_the_future_is_refused() -> None:
    for ahead, refused in ((timedelta(seconds=30), False), (timedelta(minutes=5), True)):
        price = {"bid": "1.1", "ask": "1.2", "time": (utc_now() + ahead).isoformat()}
        if refused:
            with pytest.raises(InvalidRequest, match=r"price\.time: lies in the future"):
                publication("price_update", {"instrument": "EUR_USD", "price": price}, _PAIRS)
        else:
            assert publication("price_update", {"instrument": "EUR_USD", "price": price}, _PAIRS)


# ----------------------------------------------------------------------- texts


@pytest.mark.parametrize("text", ["a\0b", "\x1b[2J", "\x7f", "\x9b", "\ud800", "x" * 501])
@pytest.mark.parametrize(
    ("type", "sound", "member"),
    [
        (EventType.PRICE_UPDATE, PRICE, "source"),
        (EventType.VOLATILITY_ALERT, VOLATILITY, "message"),
        (EventType.CORRELATION_ALERT, CORRELATION, "message"),
        (EventType.DATA_READY, {"data_type": "prices"}, "message"),
    ],
)
def test_a_text_that_not_every_reader_takes_is_refused(type: str, sound: dict[str, Any], member: str, text: str) -> None:
    publication(type, sound | {member: "Zürich 東京 \u20ac"}, _PAIRS)
    with pytest.raises(InvalidRequest, match=f"^{member}: "):
        publication(type, sound | {member: text}, _PAIRS)

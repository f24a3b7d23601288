from datetime import UTC, datetime, timedelta
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.alert import Alert, PriceAlert, Severity
from app.market.price_level import Direction
from app.realtime.contract.alert import alert_of, draft_of
from app.realtime.contract.catalogue import ALERTS, PAYLOADS, EventType
from tests.building import MOMENT, event, price_event

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIGURES = st.floats(allow_nan=False, allow_infinity=False)
_MESSAGES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=50)
_TIMES = st.integers(-30_000_000_000_000, 32_000_000_000_000_000).map(lambda number: _EPOCH + timedelta(microseconds=number))
_PRICES = st.decimals(Decimal("0.00001"), Decimal(99999), places=5)

_ALERTS: st.SearchStrategy[Alert] = st.one_of(
    st.builds(
        Alert, st.just("volatility_alert"), st.just(("EUR_USD",)), _FIGURES, _FIGURES,
        st.sampled_from(Severity), _MESSAGES, _TIMES,
    ),
    st.builds(
        Alert, st.just("correlation_alert"), st.just(("EUR_USD", "USD_JPY")), st.floats(-1, 1), _FIGURES,
        st.sampled_from(Severity), _MESSAGES, _TIMES,
    ),
    st.builds(
        PriceAlert, st.just("price_alert"), st.just(("EUR_USD",)), _PRICES, _PRICES,
        st.sampled_from(Severity), _MESSAGES, _TIMES, _MESSAGES, st.sampled_from(Direction),
    ),
)  # fmt: skip


@given(_ALERTS)
def test_an_alert_comes_back_as_it_was_published(alert: Alert) -> None:
    published = event(1, draft_of(alert))
    assert alert_of(published) == alert
    assert published.pairs == alert.pairs
    PAYLOADS[EventType(alert.type)].model_validate_json(published.payload, strict=True)


def test_it_may_be_published_later_than_it_happened() -> None:
    alert = Alert("volatility_alert", ("EUR_USD",), 0.3, 0.2, Severity.CRITICAL, "moves", MOMENT)
    later = MOMENT + timedelta(minutes=1)
    assert alert_of(event(1, draft_of(alert, later))).time == later


def test_prices_are_written_at_the_precision_of_their_pair_and_mids_with_a_digit_more() -> None:
    alert = PriceAlert(
        "price_alert", ("USD_JPY",), Decimal("150.12345"), Decimal(150), Severity.INFO, "rose", MOMENT, "l1", Direction.ABOVE
    )
    assert list(orjson.loads(draft_of(alert).data).items()) == [
        ("instrument", "USD_JPY"),
        ("level_id", "l1"),
        ("level", "150.000"),
        ("direction", "above"),
        ("price", "150.1234"),
        ("severity", "info"),
        ("message", "rose"),
        ("timestamp", "2026-01-31T09:30:00.123456Z"),
    ]


def test_every_type_of_alert_is_one_of_the_table() -> None:
    assert {"volatility_alert", "correlation_alert", "price_alert"} == ALERTS


def test_another_event_is_no_alert() -> None:
    with pytest.raises(ValueError, match=r"^price_update is no alert$"):
        alert_of(price_event(1))


def test_control_characters_in_a_message_become_spaces() -> None:
    """The message of a level that was set before such messages were refused must not make its alert unreadable."""
    alert = Alert(
        "volatility_alert", ("EUR_USD",), 0.2, 0.1, Severity.INFO, "a\nb\0c" + "x" * 3000, datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert alert_of(event(1, draft_of(alert))).message == "a\nb c" + "x" * 995

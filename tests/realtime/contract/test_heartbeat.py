import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidCursor
from app.market.clock import rfc3339
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Draft, draft
from app.realtime.contract.heartbeat import (
    FeedHeartbeat,
    GatewayHeartbeat,
    Heartbeat,
    RecorderHeartbeat,
    heartbeat,
    heartbeat_of,
)
from tests.building import MOMENT, event

_NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=100)
_COUNTS = st.integers(0, 2**53 - 1)

_HEARTBEATS: st.SearchStrategy[Heartbeat] = st.one_of(
    st.builds(GatewayHeartbeat, node=_NAMES),
    st.builds(
        FeedHeartbeat,
        node=_NAMES,
        source=_NAMES,
        simulated=st.booleans(),
        sources=st.dictionaries(_NAMES, _NAMES, max_size=5),
        dropped=st.dictionaries(_NAMES, _COUNTS, max_size=5),
    ),
    st.builds(RecorderHeartbeat, node=_NAMES, cursor=st.just("12-3"), seq=_COUNTS, recorded=_COUNTS, lost=_COUNTS, late=_COUNTS),
)

_FEED = {"node": "a", "role": "feed", "source": "oanda", "simulated": False}
_RECORDER = {"node": "a", "role": "recorder", "cursor": "1-0", "seq": 1, "lost": 0}


def _written(body: dict[str, Any]) -> Draft:
    return draft(EventType.HEARTBEAT, body | {"timestamp": rfc3339(MOMENT)})


@given(_HEARTBEATS)
def test_a_heartbeat_comes_back_as_it_was_written(sign: Heartbeat) -> None:
    assert heartbeat_of(event(1, heartbeat(sign))) == sign


def test_a_heartbeat_is_these_members() -> None:
    written = heartbeat(FeedHeartbeat(node="a1", source="oanda", simulated=False, dropped={"crossed": 3}))
    body = orjson.loads(written.data)
    assert (written.type, written.price_of) == ("heartbeat", None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", body.pop("timestamp"))
    assert list(body.items()) == [
        ("node", "a1"),
        ("role", "feed"),
        ("source", "oanda"),
        ("simulated", False),
        ("sources", {"oanda": "active"}),
        ("dropped", {"crossed": 3}),
    ]


def test_the_position_of_the_recorder_sorts_as_the_log_does() -> None:
    assert RecorderHeartbeat(node="a", cursor="12-3").order == (12, 3)


@pytest.mark.parametrize("body", [{"node": ""}, {"role": "log"}, {"role": {}}, {"role": "visitor", "node": 1}])
def test_an_unknown_role_is_no_heartbeat_of_ours(body: dict[str, Any]) -> None:
    assert heartbeat_of(event(1, _written(body))) is None


def test_a_newer_gateway_may_say_more() -> None:
    assert heartbeat_of(event(1, _written(_RECORDER | {"mood": "good"}))) == RecorderHeartbeat(node="a", cursor="1-0", seq=1)


@pytest.mark.parametrize(
    "body",
    [
        _FEED | {"node": ""},
        _FEED | {"source": {}},
        _FEED | {"source": "x" * 101},
        _FEED | {"simulated": "no"},
        _FEED | {"sources": [1]},
        _FEED | {"sources": {"oanda": {}}},
        _FEED | {"sources": {str(number): "silent" for number in range(101)}},
        _FEED | {"dropped": {"crossed": -1}},
        _FEED | {"dropped": {"crossed": "3"}},
        {"role": "feed"},
        _RECORDER | {"cursor": "1"},
        _RECORDER | {"cursor": f"{2**64}-0"},
        _RECORDER | {"seq": 2**53},
        _RECORDER | {"lost": 1.5},
    ],
)
def test_a_malformed_heartbeat_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises((ValueError, InvalidCursor)):
        heartbeat_of(event(1, _written(body)))

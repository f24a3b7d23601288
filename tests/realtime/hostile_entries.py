"""Entries that no publisher of ours writes: sound ones with a member or two replaced by something else."""

from typing import Any

import orjson
from hypothesis import strategies as st

from app.realtime.contract.catalogue import PAYLOADS
from app.realtime.contract.heartbeat import FeedHeartbeat, GatewayHeartbeat, RecorderHeartbeat, heartbeat

Entry = dict[str, bytes]

_SIGNS = (
    GatewayHeartbeat(node="a"),
    FeedHeartbeat(node="a", source="oanda", simulated=False, sources={"oanda": "silent"}, dropped={"crossed": 1}),
    RecorderHeartbeat(node="a", cursor="1-0", seq=1),
)
_EXAMPLES = [(type.value, dict(example)) for type, model in PAYLOADS.items() for example in model.examples.values()]
_SOUND: list[tuple[str, dict[str, Any]]] = [
    *((type, {name: value for name, value in example.items() if name != "id"}) for type, example in _EXAMPLES),
    *(("heartbeat", orjson.loads(heartbeat(sign).data)) for sign in _SIGNS),
]
_NUMBERS = ("1", "0", "-7", str(2**53 - 1), str(2**64), "1" + "0" * 400, "9" * 5000, "x", "")

_NASTY: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [
            None, True, False, 0, -1, 1.5, 1e308, 2**63 - 1, 2**64 - 1, "", "\0", "\u2028", "x" * 200, "NaN", "Infinity",
            "1e400", "0.00000", "9" * 40, "EUR_EUR", "EUR_USD", "18446744073709551616-0",
            "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z",
            "2026-02-30T00:00:00Z", "2999-12-31T23:59:59Z", "silent", "feed", "recorder", [], {}, [[]], {"a": {}}, {"bid": "1"},
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    type, sound = draw(st.sampled_from(_SOUND))
    body: Any = orjson.loads(orjson.dumps(sound))
    for _ in range(draw(st.integers(0, 2))):
        place = body
        name = draw(st.sampled_from([*body, "id", "kind", "role"]))
        if isinstance(body.get(name), dict) and body[name] and draw(st.booleans()):
            place = body[name]
            name = draw(st.sampled_from(list(place)))
        if draw(st.integers(0, 4)) and name != "role":
            place[name] = draw(_NASTY)
        else:
            place.pop(name, None)
    return type, orjson.dumps(body)


@st.composite
def hostile_entries(draw: st.DrawFn, number: int) -> Entry:
    """An entry whose sequence number is ``number``, or not."""
    n = draw(
        st.sampled_from([str(number)] * 6 + ["1", "0", "-7", str(2**53 - 1), str(2**64), "1" + "0" * 400, "9" * 5000, "x", ""])
    )
    type, data = draw(_bodies())
    type = draw(st.sampled_from([type] * 8 + ["news", "two words", "price_update", "feed_status", "heartbeat", ""]))
    data = draw(st.sampled_from([data] * 8 + [b"", b"null", b"[1]", b"{}", b"[" * 5000, data[:-1], b"\xff" + data, data + b"\n"]))
    entry = {"n": n.encode(), "t": type.encode(), "d": data}
    if draw(st.integers(0, 15)) == 0:
        del entry[draw(st.sampled_from(list(entry)))]
    return entry or {"a": b"b"}

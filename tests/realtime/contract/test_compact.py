from datetime import UTC, datetime

import orjson
import pytest

from app.realtime.contract.compact import CompactPrice, compact_price, resumable_price
from app.realtime.contract.event import Event
from tests.building import MOMENT, price_event


def at(time: str, id: str = "1764000000123-7") -> Event:
    """A price of this time that was written to the log under this id."""
    body = {**price_event(1).body}
    return Event.from_entry(id, 1, "price_update", orjson.dumps({**body, "price": {**body["price"], "time": time}}))


def test_a_price_is_pair_bid_ask_and_the_time_of_its_source() -> None:
    event = price_event(1)
    pair, bid, ask, milliseconds = orjson.loads(compact_price(event))
    price = event.body["price"]
    assert (pair, bid, ask) == (event.body["instrument"], price["bid"], price["ask"])
    assert datetime.fromtimestamp(milliseconds / 1000, UTC) == MOMENT.replace(microsecond=123_000)


@pytest.mark.parametrize(
    "time",
    ["2025-11-24T16:00:00.123Z", "2025-11-24T16:00:00.1239999Z", "2025-11-24T16:00:00Z", "2025-11-21T16:00:00Z",
     "2025-11-24T16:00:09Z", "2000-01-01T00:00:00.000001Z"],
)  # fmt: skip
def test_the_id_can_be_told_from_the_row_however_old_the_price_was(time: str) -> None:
    event = at(time)
    row = orjson.loads(resumable_price(event))
    assert f"{row[3] + row[4]}-{row[5]}" == event.id
    assert row[3] == int(datetime.fromisoformat(time).timestamp() * 1000)
    assert row[:4] == orjson.loads(compact_price(event)) == orjson.loads(resumable_price(event.without_cursor()))
    assert CompactPrice.model_validate_json(resumable_price(event), strict=True).root == tuple(row)


def test_the_examples_are_compact_prices() -> None:
    for example in CompactPrice.examples.values():
        CompactPrice.model_validate(example, strict=True)

"""The compact form of a price, for thin lines: an array of a fifth of the size of the full form.

``["EUR_USD","1.11717","1.11726",1764000000087]``: pair, bid, ask, and the time that the source gives, in milliseconds since
1970. The mid is between bid and ask. Where the transport has no other place for the event's id, two numbers follow: the
milliseconds from that time to the id's, and the id's second number. ``["EUR_USD","1.11717","1.11726",1764000000087,36,0]``
has the id ``1764000000123-0``. An event that is no place to resume from goes without them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import Field, RootModel

from app.realtime.contract.event import Event, milliseconds
from app.realtime.contract.fields import PairName, PriceText

_SHARED = 256
"""Prices whose compact form is kept for the other transports and clients: a batch, and a snapshot or two."""


class PriceFormat(StrEnum):
    """The forms of a price that a client can ask for. All other messages are the same in either."""

    FULL = "full"
    COMPACT = "compact"


_Milliseconds = Annotated[int, Field(description="Milliseconds since 1970 of the time that the source gives")]
_Later = Annotated[int, Field(description="Milliseconds from that time to the id's")]
_Number = Annotated[int, Field(ge=0, description="The second number of the id")]


class CompactPrice(
    RootModel[
        tuple[PairName, PriceText, PriceText, _Milliseconds]
        | tuple[PairName, PriceText, PriceText, _Milliseconds, _Later, _Number]
    ]
):
    """A price in the compact form: pair, bid, ask, and the milliseconds since 1970 of the time that the source gives.

    The mid is half of bid and ask together. Over Socket.IO and a plain websocket a price that can be resumed from has two more
    members: its id is the sum of the fourth and the fifth, a hyphen and the sixth. On an event stream the id is the event's own.
    """

    examples: ClassVar[Mapping[str, Sequence[str | int]]] = MappingProxyType(
        {
            "with_its_id": ("EUR_USD", "1.11717", "1.11726", 1764000000087, 36, 0),
            "without_an_id": ("EUR_USD", "1.11717", "1.11726", 1764000000087),
        }
    )


@lru_cache(_SHARED)
def compact_price(event: Event) -> bytes:
    """Return a price in four members, for a transport that carries the id beside the data."""
    price = event.body["price"]
    return f'["{event.pairs[0]}","{price["bid"]}","{price["ask"]}",{_milliseconds(event)}]'.encode()


@lru_cache(_SHARED)
def resumable_price(event: Event) -> bytes:
    """Return a price with its id in two further members."""
    row = compact_price(event)
    if not event.is_cursor:
        return row
    written, number = event.order
    return b"%s,%d,%d]" % (row[:-1], written - _milliseconds(event), number)


def _milliseconds(event: Event) -> int:
    return milliseconds(datetime.fromisoformat(event.body["price"]["time"]))

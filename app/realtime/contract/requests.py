"""What Socket.IO clients send."""

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from app.realtime.contract.event import resumed_cursor
from app.realtime.contract.fields import Examples, Message
from app.realtime.contract.samples import ID, PAIRS


class Request(Message):
    """The payload of a client's event: types are checked strictly, members that it does not declare are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Subscribe(Request):
    """What `subscribe` takes."""

    pairs: list[str] | Literal["*"] = Field(
        description="Pairs in any accepted spelling, or `*` for all", examples=[["EUR_USD", "GBP_USD"]]
    )
    since: str | None = Field(None, description="Resume after this cursor", examples=["1764000000000-0"])
    last_event_id: str | None = Field(
        None, description="Another name for `since`; of several cursors the newest counts", examples=["1764000000000-0"]
    )
    lastEventId: str | None = Field(None, description="Another name for `since`", examples=["1764000000000-0"])
    snapshot: bool = Field(True, description="Send the newest price of each pair first")
    max_hz: float | None = Field(
        None, gt=0, le=1000, description="At most this many prices of each pair a second; newer ones replace older ones"
    )
    format: Literal["full", "compact"] | None = Field(
        None, description="The form of the prices from now on; null leaves it as it is, `full` at first"
    )

    @property
    def resumes_from(self) -> str | None:
        """The cursor to resume from, under whatever name it was sent. Raises InvalidCursor."""
        return resumed_cursor(self.since, self.last_event_id, self.lastEventId)

    examples: ClassVar[Examples] = {
        "two_pairs": {"pairs": PAIRS},
        "every_pair": {"pairs": "*"},
        "resume": {"pairs": PAIRS, "since": ID},
        "twice_a_second": {"pairs": ["EUR_USD"], "max_hz": 2},
        "news_only": {"pairs": ["EUR_USD"], "snapshot": False},
        "compact": {"pairs": PAIRS, "format": "compact"},
    }


class Unsubscribe(Request):
    """What `unsubscribe` takes."""

    pairs: list[str] | Literal["*"] = Field(description="Pairs, or `*` for all", examples=[["EUR_USD"]])

    examples: ClassVar[Examples] = {"one_pair": {"pairs": ["EUR_USD"]}, "every_pair": {"pairs": "*"}}


class RequestPrice(Request):
    """What `request_price` takes."""

    instrument: str = Field(description="A pair in any accepted spelling", examples=["EUR_USD"])

    examples: ClassVar[Examples] = {"by_name": {"instrument": "EUR_USD"}}

"""The payloads of the events that clients see, as models with an example of each."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator

from app.market.price_level import Direction
from app.market.quote import QuoteKind
from app.realtime.contract.fields import (
    Cursor,
    DataType,
    Examples,
    Kind,
    Message,
    MidText,
    PairName,
    PriceText,
    Severity,
    SourceName,
    TimeText,
)
from app.realtime.contract.samples import EUR_USD, ID, LATER, LATER_ID, TIME
from app.validation import plain_lines, plain_text

DECIMAL = r"\d{1,18}(?:\.\d{1,9})?"
"""A pattern of prices as the gateway writes them."""

_LONGEST_TEXT = 2000
"""Characters of the longest text of an event, far more than any publisher may write."""

_SENTENCES = frozenset({"message", "reason"})
"""The texts that may have several lines."""

_DECIMAL = re.compile(DECIMAL, re.ASCII)


def _decimal(text: str) -> str:
    if not _DECIMAL.fullmatch(text):
        raise ValueError("a decimal string is needed")
    return text


CheckedPrice = Annotated[PriceText, AfterValidator(_decimal)]


class EventPayload(Message):
    """The payload of an event of the log.

    Values are checked strictly: a number as text is no number, and texts have at most 2000 characters. Control characters are
    refused, but for tabs and line ends in messages.
    """

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _is_plain(cls, value: object, field: ValidationInfo) -> object:
        if isinstance(value, str):
            if len(value) > _LONGEST_TEXT:
                raise ValueError(f"at most {_LONGEST_TEXT} characters are allowed")
            (plain_lines if field.field_name in _SENTENCES else plain_text)(value)
        return value


class Price(Message):
    """Bid, ask and mid of a pair at the time its source gives."""

    bid: PriceText
    ask: PriceText
    mid: MidText
    time: TimeText


class PriceUpdate(EventPayload):
    """A new price of a pair."""

    id: Cursor
    instrument: PairName
    price: Price = Field(description="The new price")
    source: SourceName
    kind: Kind = Field(QuoteKind.QUOTED, strict=False)
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "simulated": {
            "id": ID,
            "instrument": "EUR_USD",
            "price": EUR_USD,
            "source": "simulated",
            "timestamp": TIME,
        },
        "synthetic": {
            "id": ID,
            "instrument": "GBP_JPY",
            "price": {"bid": "191.402", "ask": "191.447", "mid": "191.4245", "time": TIME},
            "source": "kraken",
            "kind": "synthetic",
            "timestamp": TIME,
        },
    }


class VolatilityAlert(EventPayload):
    """The volatility of a pair has passed a threshold."""

    id: Cursor
    instrument: PairName
    volatility: float = Field(description="Annualised, as a decimal: 0.0234 is 2.34 %", examples=[0.0234])
    threshold: float = Field(description="The threshold it passed, likewise annualised", examples=[0.02])
    severity: Severity = Field(description="How serious it is")
    message: str = Field(description="The same in words", examples=["Volatility (0.0234) exceeded threshold (0.02)"])
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "warning": {
            "id": ID,
            "instrument": "EUR_USD",
            "volatility": 0.0234,
            "threshold": 0.02,
            "severity": "warning",
            "message": "Volatility (0.0234) exceeded threshold (0.02)",
            "timestamp": TIME,
        }
    }


class CorrelationAlert(EventPayload):
    """The correlation of two pairs has changed."""

    id: Cursor
    pair1: PairName
    pair2: PairName
    correlation: float = Field(ge=-1, le=1, description="The new correlation, from -1 to 1", examples=[-0.82])
    threshold: float = Field(description="The absolute correlation at which alerts are raised", examples=[0.7])
    severity: Severity = Field(description="How serious it is")
    message: str = Field(description="The same in words", examples=["Correlation between EUR_USD and USD_JPY changed to -0.82"])
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "negative": {
            "id": ID,
            "pair1": "EUR_USD",
            "pair2": "USD_JPY",
            "correlation": -0.82,
            "threshold": 0.7,
            "severity": "info",
            "message": "Correlation between EUR_USD and USD_JPY changed to -0.82",
            "timestamp": TIME,
        }
    }


class PriceAlert(EventPayload):
    """A price has reached a level that a user set."""

    id: Cursor
    instrument: PairName
    level_id: str = Field(
        description="The id of the level, as in `/api/v1/alerts/levels`", examples=["5e0e8a6c4f5b4b0f9d1c2a3b4c5d6e7f"]
    )
    level: CheckedPrice
    direction: Direction = Field(strict=False)
    price: CheckedPrice = Field(description="The mid that reached it")
    severity: Severity = Field(description="How serious it is")
    message: str = Field(
        description="The message given when the level was set or, without one, the same in words",
        examples=["EUR_USD rose to 1.09460, above 1.09450"],
    )
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "above": {
            "id": ID,
            "instrument": "EUR_USD",
            "level_id": "5e0e8a6c4f5b4b0f9d1c2a3b4c5d6e7f",
            "level": "1.09450",
            "direction": "above",
            "price": "1.09460",
            "severity": "info",
            "message": "EUR_USD rose to 1.09460, above 1.09450",
            "timestamp": TIME,
        }
    }


class DataReady(EventPayload):
    """New data can be fetched. Every client gets this, subscribed or not."""

    id: Cursor
    data_type: DataType = Field(description="What is new; each can be fetched from the REST path of its kind")
    count: int = Field(ge=0, description="The number of new records", examples=[20])
    message: str = Field(description="The same in words", examples=["prices data updated (20 records)"])
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "prices": {
            "id": ID,
            "data_type": "prices",
            "count": 20,
            "message": "prices data updated (20 records)",
            "timestamp": TIME,
        }
    }


class SourceChanged(EventPayload):
    """Prices come from another source from here on. Every client gets this, subscribed or not."""

    id: Cursor
    source: str = Field(description="The source from here on", examples=["kraken"])
    previous: str | None = Field(description="The source before it; null where there was none", examples=["oanda"])
    simulated: bool = Field(description="True where the prices of the new source are invented")
    reason: str = Field(description="Why it changed", examples=["oanda is silent"])
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "taken_over": {
            "id": ID,
            "source": "kraken",
            "previous": "oanda",
            "simulated": False,
            "reason": "oanda is silent",
            "timestamp": TIME,
        }
    }


class FeedStatus(EventPayload):
    """The source of prices has fallen silent, so that prices are stale, or quotes again. Every client gets this."""

    id: Cursor
    source: str = Field(description="The source", examples=["oanda"])
    status: Literal["silent", "live"] = Field(
        description="`silent` where prices are stale from here on, `live` where they are fresh again"
    )
    message: str = Field(description="The same in words", examples=["oanda is silent"])
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "silent": {
            "id": ID,
            "source": "oanda",
            "status": "silent",
            "message": "oanda is silent",
            "timestamp": TIME,
        }
    }


class Gap(EventPayload):
    """Events between two cursors were lost on the server's side. It carries no id: it is no place to resume from."""

    after: Cursor
    before: Cursor
    missed: int | None = Field(description="The number of events lost; null where it is not known")
    message: str = Field(description="The same in words", examples=["3 events were lost"])
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "three_lost": {
            "after": ID,
            "before": LATER_ID,
            "missed": 3,
            "message": "3 events were lost",
            "timestamp": LATER,
        }
    }

"""The types that messages of the contract are made of, and their base class.

OpenAPI and AsyncAPI are generated from the models built on these.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from app.market.quote import QuoteKind

PairName = Annotated[str, Field(description="A currency pair", examples=["EUR_USD"], pattern="^[A-Z]{3}_[A-Z]{3}$")]
SPELLED_PAIR = "[A-Za-z]{3}[_/]?[A-Za-z]{3}"
SpelledPair = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{SPELLED_PAIR}$",
            "description": "A pair in any accepted spelling",
            "examples": ["EUR_USD"],
        }
    ),
]
Cursor = Annotated[str, Field(description="The id of an event, to resume from", examples=["1764000000000-0"])]
PriceText = Annotated[str, Field(description="A price as a decimal string at the pair's precision", examples=["1.09450"])]
MidText = Annotated[
    str,
    Field(
        description="A mid as a decimal string at the pair's precision, with one digit more if it lies between two such prices",
        examples=["1.09450", "1.094505"],
    ),
]
TimeText = Annotated[str, Field(description="RFC 3339, UTC", examples=["2026-01-31T09:30:00.123456Z"])]
Kind = Annotated[
    QuoteKind,
    Field(
        description="Absent where the source quotes a bid and an ask as usual; `indicative` where it does not deal at them, "
        "`synthetic` for a cross computed from two other pairs, `daily` for a reference rate without a spread",
    ),
]
SourceName = Annotated[
    str, Field(description="Where the price comes from; `simulated` prices are invented", examples=["oanda", "simulated"])
]
Sources = Annotated[
    list[SourceName],
    Field(description="Where the newest prices of these pairs come from; `source_changed` says when that changes"),
]
FormatName = Annotated[Literal["full", "compact"], Field(description="The form of the prices")]
Severity = Literal["info", "warning", "critical"]
DataType = Literal["prices", "metrics", "correlations", "candles"]

LARGEST_COUNT = 2**53 - 1
"""The largest integer that a JSON number carries exactly to every client."""

Examples = Mapping[str, Mapping[str, Any]]
"""Payloads by a name that says what each one shows."""


class Message(BaseModel):
    """A message of the contract. Members that it does not declare are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    examples: ClassVar[Examples] = MappingProxyType({})
    """Payloads for the AsyncAPI document; empty where the model is part of another message."""

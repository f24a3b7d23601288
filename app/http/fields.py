"""Members that several answers share."""

from typing import Annotated, Literal

from pydantic import Field

from app.realtime.contract.fields import PairName

SourceName = Annotated[str, Field(description="The source of prices", examples=["oanda", "simulated"])]
Simulated = Annotated[bool | None, Field(description="True if prices are simulated; null before the feed has reported it")]
FeedState = Annotated[
    Literal["live", "stale", "none"],
    Field(description="`live` while any price is fresh, `stale` if none is, `none` before the first price"),
]
SourceStates = Annotated[
    dict[str, str],
    Field(
        description="The sources of the feed by name, the most preferred first: `active`, `standby`, `silent` or `refused`; "
        "empty before the feed has reported them",
        examples=[{"oanda": "silent", "kraken": "active"}],
    ),
]
SilentPairs = Annotated[
    list[PairName],
    Field(
        description="The pairs whose newest price is stale: their market is open, and no price of them has come for too long, "
        "although others may have new ones",
        examples=[["EUR_CHF"]],
    ),
]
DroppedQuotes = Annotated[
    dict[str, int],
    Field(description="Quotes that the feed has dropped since it started, by reason", examples=[{"crossed": 3, "spike": 1}]),
]
JobName = Annotated[str, Field(description="The name of the job", examples=["hourly"])]
RecordCount = Annotated[int, Field(description="Number of records written", examples=[20])]
RunError = Annotated[str | None, Field(description="The error; null if there was none")]

"""Members that several answers share."""

from typing import Annotated, Literal

from pydantic import Field

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
JobName = Annotated[str, Field(description="The name of the job", examples=["hourly"])]
RecordCount = Annotated[int, Field(description="Number of records written", examples=[20])]
RunError = Annotated[str | None, Field(description="The error; null if there was none")]

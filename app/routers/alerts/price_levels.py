"""``/api/v1/alerts/levels``: price levels, which raise an alert when the mid reaches them."""

import json
import re
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, cast
from uuid import uuid4

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.security import HTTPBearer
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from starlette.exceptions import HTTPException

from app.errors import InvalidRequest, NotFound, PayloadTooLarge
from app.http.bodies import InvalidBody, read_body
from app.http.gateway import CurrentGateway
from app.http.refusals import (
    LATE_BODY,
    NO_DATABASE,
    NO_TOKEN,
    RATE_LIMITED,
    UNKNOWN_PAIR,
    refusals,
)
from app.http.tokens import token_needed
from app.market.clock import rfc3339, utc_now
from app.market.pair import TrackedPairs
from app.market.price_level import Direction, PriceLevel
from app.realtime.contract.fields import Message, PairName, PriceText, Severity, SpelledPair, TimeText
from app.realtime.contract.publication import describe
from app.validation import PLAIN_LINES, plain_lines

router = APIRouter(prefix="/api/v1/alerts/levels", tags=["alerts"])

MOST_LEVELS = 1000
"""Levels that a gateway keeps, for all users together."""

_LARGEST_BODY = 8192
_LARGEST_LEVEL = Decimal(1_000_000_000)
_ID = re.compile("[0-9a-f]{32}")

_EXAMPLE_ID = "5e0e8a6c4f5b4b0f9d1c2a3b4c5d6e7f"

_bearer = HTTPBearer(
    scheme_name="AlertToken",
    auto_error=False,
    description="A token that may set and delete price levels; not needed if the gateway has none",
)
_token_checked = Depends(token_needed(_bearer, lambda tokens: tokens.alerts, closed=None))
# Merged with the scheme of the dependency: with a token or without.
_OPTIONAL_SECURITY: dict[str, Any] = {"security": [{}]}

_UNSUPPORTED_TYPE = HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A body of the type application/json is needed")
_UNKNOWN_ID = NotFound(f"No price level has the id '{_EXAMPLE_ID}'")


def _number(value: object) -> object:
    """Accept plain decimal text and JSON numbers, but not booleans, exponents or signs."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("a decimal number is needed")
    if isinstance(value, str) and not (value.isascii() and value.replace(".", "", 1).isdigit()):
        raise ValueError("a decimal number like 1.09450 is needed")
    return Decimal(value)


def _whole(value: object) -> object:
    """Accept JSON numbers, so that pydantic takes 60.0 as 60, but neither text nor booleans."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("a whole number is needed")
    return value


def _in_bounds(value: Decimal) -> Decimal:
    if not 0 < value < _LARGEST_LEVEL:
        raise ValueError(f"has to be positive and below {_LARGEST_LEVEL}")
    return value


Level = Annotated[
    Decimal,
    BeforeValidator(_number),
    AfterValidator(_in_bounds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": int(_LARGEST_LEVEL)},
                {"type": "string", "pattern": r"^0*\d{1,9}(\.\d*)?$|^\.\d+$"},
            ]
        }
    ),
    Field(description="A decimal string or number with at most the decimals of the pair", examples=["1.09450"]),
]
LevelMessage = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    AfterValidator(plain_lines),
    Field(json_schema_extra={"pattern": PLAIN_LINES}),
]


class NewPriceLevel(Message):
    """A price level to set."""

    instrument: SpelledPair
    direction: Direction = Field(description="`above` triggers at a mid at or above the level, `below` at or below it")
    level: Level
    severity: Severity = Field("info", description="The severity of its alerts")
    message: LevelMessage | None = Field(None, description="The message of its alerts; a description of what happened by default")
    repeat: StrictBool = Field(
        False, description="Rearm when the price has moved back; by default the level is done after one alert"
    )
    cooldown_seconds: Annotated[int, Field(ge=0, le=604_800), BeforeValidator(_whole)] = Field(
        3600, description="Minimum seconds between two alerts of a repeating level"
    )


class ListedLevel(Message):
    """A price level and its state."""

    id: str = Field(description="The id of the level", examples=[_EXAMPLE_ID])
    instrument: PairName
    direction: Direction
    level: PriceText
    severity: Severity = Field(description="The severity of its alerts")
    message: str | None = Field(
        description="The message of its alerts; null for a description of what happened", examples=["Below 150"]
    )
    repeat: bool = Field(description="True if it is rearmed when the price has moved back")
    cooldown_seconds: int = Field(description="Minimum seconds between two of its alerts", examples=[3600])
    created: TimeText = Field(description="When it was set: RFC 3339, UTC")
    armed: bool = Field(description="True while it waits for its price")
    triggered: int = Field(description="Number of alerts so far", examples=[0])
    last_triggered: TimeText | None = Field(description="Time of its last alert; null before the first")


class ListedLevels(Message):
    """Price levels, oldest first."""

    count: int = Field(description="Number of levels", examples=[1])
    levels: list[ListedLevel] = Field(description="The levels, oldest first")


def described_schemas() -> dict[str, Any]:
    """The schema of the body of a new level, by its name in the OpenAPI document."""
    schema = NewPriceLevel.model_json_schema(ref_template="#/components/schemas/{model}")
    del schema["$defs"]  # these are in the document already, as parts of the answers
    return {NewPriceLevel.__name__: schema}


def _described_body() -> dict[str, Any]:
    """The body for OpenAPI, which cannot derive it because the endpoint reads the body itself."""
    schema = {"$ref": f"#/components/schemas/{NewPriceLevel.__name__}"}
    examples = {
        "once": {
            "summary": "Alert once",
            "value": {"instrument": "EUR_USD", "direction": "above", "level": "1.09450", "severity": "warning"},
        },
        "again": {
            "summary": "Alert every time, at most once an hour",
            "value": {
                "instrument": "USD_JPY",
                "direction": "below",
                "level": "150.000",
                "message": "Below 150",
                "repeat": True,
                "cooldown_seconds": 3600,
            },
        },
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}}


LevelId = Annotated[str, Path(description="The id of a level", examples=[_EXAMPLE_ID])]


@router.get(
    "",
    operation_id="get_price_levels",
    summary="Price levels",
    responses=refusals(UNKNOWN_PAIR, RATE_LIMITED, NO_DATABASE),
)
async def get_price_levels(
    gateway: CurrentGateway,
    pair: Annotated[SpelledPair | None, Query(description="Only this pair", examples=["EUR_USD"])] = None,
) -> ListedLevels:
    """Return every level that has not been deleted, also those that are done."""
    of_pair = None if pair is None else gateway.hub.pairs.find(pair)
    levels = await gateway.from_database(gateway.stores.price_levels.all(of_pair))
    return ListedLevels(count=len(levels), levels=[_listed(level) for level in levels])


@router.post(
    "",
    operation_id="set_price_level",
    summary="Set a price level",
    status_code=HTTPStatus.CREATED,
    dependencies=[_token_checked],
    responses=refusals(
        NO_TOKEN,
        LATE_BODY,
        PayloadTooLarge(f"The body is larger than {_LARGEST_BODY} bytes"),
        _UNSUPPORTED_TYPE,
        InvalidBody("level: EUR_USD has 5 decimals"),
        RATE_LIMITED,
        NO_DATABASE,
    )
    | {
        201: {
            "description": "The level",
            "headers": {"Location": {"description": "The path of the level", "schema": {"type": "string"}}},
        }
    },
    openapi_extra=_described_body() | _OPTIONAL_SECURITY,
)
async def set_price_level(gateway: CurrentGateway, request: Request, response: Response) -> ListedLevel:
    """Set a level that raises a `price_alert` when the mid of its pair reaches it. A gateway keeps up to 1000 levels."""
    # Otherwise any web page could set levels: for a body of plain text a browser sends no CORS preflight.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(_UNSUPPORTED_TYPE.status_code, _UNSUPPORTED_TYPE.detail)
    level = _level(await read_body(request, _LARGEST_BODY, gateway.limits.body), gateway.hub.pairs)
    async with gateway.level_lock:
        if await gateway.from_database(gateway.stores.price_levels.count()) >= MOST_LEVELS:
            raise InvalidBody(f"The limit of {MOST_LEVELS} price levels is reached: delete some first")
        await gateway.from_database(gateway.stores.price_levels.add(level))
    response.headers["Location"] = f"{request.url.path.rstrip('/')}/{level.id}"
    return _listed(level)


@router.get(
    "/{id}",
    operation_id="get_price_level",
    summary="One price level",
    responses=refusals(_UNKNOWN_ID, RATE_LIMITED, NO_DATABASE),
)
async def get_price_level(gateway: CurrentGateway, id: LevelId) -> ListedLevel:
    """Return the level and its state."""
    return _listed(await gateway.from_database(gateway.stores.price_levels.get(_known(id))))


@router.delete(
    "/{id}",
    operation_id="delete_price_level",
    summary="Delete a price level",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[_token_checked],
    responses=refusals(NO_TOKEN, _UNKNOWN_ID, RATE_LIMITED, NO_DATABASE),
    openapi_extra=_OPTIONAL_SECURITY,
)
async def delete_price_level(gateway: CurrentGateway, id: LevelId) -> None:
    """Delete the level, whatever its state."""
    await gateway.from_database(gateway.stores.price_levels.delete(_known(id)))


def _level(body: bytes, pairs: TrackedPairs) -> PriceLevel:
    """Parse a body to a new level. Raises InvalidBody."""
    try:
        # Not orjson, which parses numbers to floats: the digits as written would be lost.
        content = json.loads(body, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, ArithmeticError, RecursionError):
        raise InvalidBody("The body is not JSON") from None
    if not isinstance(content, dict):
        raise InvalidBody("An object with the members instrument, direction and level is needed")
    try:
        new = NewPriceLevel.model_validate(content)
    except ValidationError as error:
        raise InvalidBody(describe(error)) from None
    try:
        pair = pairs.find(new.instrument)
    except InvalidRequest as error:
        raise InvalidBody(f"instrument: {error}") from None
    level = pair.round(new.level)
    if level != new.level:
        raise InvalidBody(f"level: {pair} has {pair.precision} decimals")
    return PriceLevel(
        id=uuid4().hex,
        pair=pair,
        direction=new.direction,
        level=level,
        severity=new.severity,
        message=new.message,
        repeat=new.repeat,
        cooldown_seconds=new.cooldown_seconds,
        created=utc_now(),
    )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _known(id: str) -> str:
    """Return the id if it has the form of one. Raises NotFound otherwise, before it reaches the database."""
    if _ID.fullmatch(id) is None:
        raise NotFound(f"No price level has the id {id[:40]!r}")
    return id


def _listed(level: PriceLevel) -> ListedLevel:
    pair = level.pair
    return ListedLevel(
        id=level.id,
        instrument=pair.name,
        direction=level.direction,
        level=str(pair.round(level.level)),
        severity=cast(Severity, level.severity),
        message=level.message,
        repeat=level.repeat,
        cooldown_seconds=level.cooldown_seconds,
        created=rfc3339(level.created),
        armed=level.armed,
        triggered=level.triggered,
        last_triggered=None if level.last_triggered is None else rfc3339(level.last_triggered),
    )

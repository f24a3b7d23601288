"""``/api/v1/alerts/levels``: the price levels that users wait for."""

import json
import re
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, cast
from uuid import uuid4

from fastapi import APIRouter, Depends, Path, Query, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
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

from app.errors import InvalidRequest, NotFound
from app.http.bodies import InvalidBody, read_body
from app.http.gateway import CurrentGateway
from app.http.problems import responses
from app.http.tokens import check_token
from app.market.clock import rfc3339, utc_now
from app.market.pair import TrackedPairs
from app.market.price_level import Direction, PriceLevel
from app.realtime.contract.messages import Message, PairName, PriceText, Severity, SpelledPair, TimeText
from app.realtime.contract.publication import describe

router = APIRouter(prefix="/api/v1/alerts/levels", tags=["alerts"])

MOST_LEVELS = 1000
"""How many levels a gateway keeps, over all its users."""

_LARGEST_BODY = 8192
_LARGEST_LEVEL = Decimal(1_000_000_000)
_ID = re.compile("[0-9a-f]{32}")

_bearer = HTTPBearer(
    scheme_name="AlertToken",
    auto_error=False,
    description="A token with the right to set price levels; not needed where the gateway has none",
)
_OPTIONAL_SECURITY: dict[str, Any] = {"security": [{}]}


def _number(value: object) -> object:
    """A price is written as plain decimal text or as a number; neither true nor a word is one."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("a decimal number is needed")
    if isinstance(value, str) and not (value.isascii() and value.replace(".", "", 1).isdigit()):
        raise ValueError("a decimal number like 1.09450 is needed")
    return Decimal(value)


def _whole(value: object) -> object:
    """JSON has one kind of number, so 60.0 is as whole as 60; a word or a truth is none."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("a whole number is needed")
    return value


def _in_bounds(value: Decimal) -> Decimal:
    if not 0 < value < _LARGEST_LEVEL:
        raise ValueError(f"has to be positive and below {_LARGEST_LEVEL}")
    return value


def _without_zero(text: str) -> str:
    if "\0" in text:
        raise ValueError("the character zero cannot be kept")
    return text


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
    Field(description="A decimal string or number, at most at the pair's precision", examples=["1.09450"]),
]
LevelMessage = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    AfterValidator(_without_zero),
    Field(json_schema_extra={"pattern": r"^[^\u0000]*$"}),
]


class NewPriceLevel(Message):
    """A price level to wait for."""

    instrument: SpelledPair
    direction: Direction = Field(description="`above` waits for a mid at the level or above it, `below` likewise")
    level: Level
    severity: Severity = Field("info", description="How serious the alert is to be")
    message: LevelMessage | None = Field(None, description="What the alert is to say; without it, what happened")
    repeat: StrictBool = Field(
        False, description="Wait again once the price has come back; else the level is done after one alert"
    )
    cooldown_seconds: Annotated[int, Field(ge=0, le=604_800), BeforeValidator(_whole)] = Field(
        3600, description="Between two alerts of a level that repeats lie so many seconds at least"
    )


class ListedLevel(Message):
    """A price level, and how far it has come."""

    id: str = Field(description="What names the level", examples=["5e0e8a6c4f5b4b0f9d1c2a3b4c5d6e7f"])
    instrument: PairName
    direction: Direction
    level: PriceText
    severity: Severity = Field(description="How serious its alerts are")
    message: str | None = Field(description="What its alerts say; null where they say what happened", examples=["Below 150"])
    repeat: bool = Field(description="True where it waits again once the price has come back")
    cooldown_seconds: int = Field(description="Between two alerts of it lie so many seconds at least", examples=[3600])
    created: TimeText = Field(description="When it was set: RFC 3339, UTC")
    armed: bool = Field(description="True while it waits for its price")
    triggered: int = Field(description="How many alerts it has given", examples=[0])
    last_triggered: TimeText | None = Field(description="When it gave its last alert; null where it has given none")


class ListedLevels(Message):
    """Price levels, the oldest first."""

    count: int = Field(description="How many levels these are", examples=[1])
    levels: list[ListedLevel] = Field(description="The oldest first")


async def may_set_levels(
    gateway: CurrentGateway, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> None:
    """Let pass who has a token, or anybody where this gateway has none. Raises Unauthorized."""
    if gateway.alert_tokens:
        check_token(credentials, gateway.alert_tokens)


def described_schemas() -> dict[str, Any]:
    """The schema that the body of a new level refers to, by its name in the OpenAPI document."""
    schema = NewPriceLevel.model_json_schema(ref_template="#/components/schemas/{model}")
    del schema["$defs"]  # what they define is in the document by way of the answers
    return {NewPriceLevel.__name__: schema}


def _described_body() -> dict[str, Any]:
    """The body for OpenAPI, which cannot derive it: the endpoint reads it itself, within bounds."""
    schema = {"$ref": f"#/components/schemas/{NewPriceLevel.__name__}"}
    examples = {
        "once": {
            "summary": "Tell once",
            "value": {"instrument": "EUR_USD", "direction": "above", "level": "1.09450", "severity": "warning"},
        },
        "again": {
            "summary": "Tell every time, but not more often than once an hour",
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


LevelId = Annotated[str, Path(description="The id of a level", examples=["5e0e8a6c4f5b4b0f9d1c2a3b4c5d6e7f"])]


@router.get("", operation_id="get_price_levels", summary="Price levels", responses=responses(400, 429, 503))
async def get_price_levels(
    gateway: CurrentGateway,
    pair: Annotated[SpelledPair | None, Query(description="Of this pair; without it, of all", examples=["EUR_USD"])] = None,
) -> ListedLevels:
    """Every level that somebody set and nobody deleted, also those that are done."""
    of_pair = None if pair is None else gateway.hub.pairs.find(pair)
    levels = await gateway.from_database(gateway.price_levels.all(of_pair))
    return ListedLevels(count=len(levels), levels=[_listed(level) for level in levels])


@router.post(
    "",
    operation_id="set_price_level",
    summary="Set a price level",
    status_code=HTTPStatus.CREATED,
    dependencies=[Depends(may_set_levels)],
    responses=responses(401, 408, 413, 415, 422, 429, 503)
    | {
        201: {
            "description": "The level",
            "headers": {"Location": {"description": "Where the level is found", "schema": {"type": "string"}}},
        }
    },
    openapi_extra=_described_body() | _OPTIONAL_SECURITY,
)
async def set_price_level(gateway: CurrentGateway, request: Request, response: Response) -> ListedLevel:
    """Be told by a `price_alert` when the mid of a pair reaches a level. A gateway keeps 1000 levels."""
    # A page of any website may send what counts as plain text here, without a browser asking whether it is allowed.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A body of the type application/json is needed")
    level = _level(await read_body(request, _LARGEST_BODY, gateway.body_timeout), gateway.hub.pairs)
    async with gateway.setting_levels:
        if await gateway.from_database(gateway.price_levels.count()) >= MOST_LEVELS:
            raise InvalidBody(f"There are {MOST_LEVELS} price levels already, which is as many as are kept: delete some")
        await gateway.from_database(gateway.price_levels.add(level))
    response.headers["Location"] = f"{request.url.path.rstrip('/')}/{level.id}"
    return _listed(level)


@router.get("/{id}", operation_id="get_price_level", summary="One price level", responses=responses(404, 429, 503))
async def get_price_level(gateway: CurrentGateway, id: LevelId) -> ListedLevel:
    """The level, and how far it has come."""
    return _listed(await gateway.from_database(gateway.price_levels.get(_known(id))))


@router.delete(
    "/{id}",
    operation_id="delete_price_level",
    summary="Delete a price level",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[Depends(may_set_levels)],
    responses=responses(401, 404, 429, 503),
    openapi_extra=_OPTIONAL_SECURITY,
)
async def delete_price_level(gateway: CurrentGateway, id: LevelId) -> None:
    """Wait for it no longer."""
    await gateway.from_database(gateway.price_levels.delete(_known(id)))


def _level(body: bytes, pairs: TrackedPairs) -> PriceLevel:
    """The level that a body describes. Raises InvalidBody."""
    try:
        # Not orjson: it reads a number as a binary fraction, which no longer says with how many digits it was written.
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
    raise ValueError(f"{constant} is no JSON")


def _known(id: str) -> str:
    """An id that a level may have. Raises NotFound for any other text, before it reaches the database."""
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

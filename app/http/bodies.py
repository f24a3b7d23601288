"""Bodies of requests, read within bounds of size and time."""

import asyncio
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from app.errors import InvalidRequest, PayloadTooLarge


class InvalidBody(InvalidRequest):
    """A body that cannot be used; ``index`` counts from 0 and says which item of a list is at fault."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message if index is None else f"item {index}: {message}")
        self.index = index


async def read_body(request: Request, most: int, within: float) -> bytes:
    """The body of a request, at most ``most`` bytes, read in ``within`` seconds and no further than that.

    Raises PayloadTooLarge, InvalidBody where the client goes away meanwhile, and HTTPException 408.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(most)
    body = bytearray()
    try:
        async with asyncio.timeout(within):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise _too_large(most)
    except TimeoutError:
        raise HTTPException(
            HTTPStatus.REQUEST_TIMEOUT, f"The body did not arrive within {within:g} s", {"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise InvalidBody("The body ended early") from None
    return bytes(body)


def _too_large(most: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {most} bytes")

"""Request bodies, read within limits of size and time."""

import asyncio
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from app.errors import InvalidRequest, PayloadTooLarge


class InvalidBody(InvalidRequest):
    """A body that cannot be used. ``index`` is the item of a list that is at fault, counted from 0."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message if index is None else f"item {index}: {message}")
        self.index = index


async def read_body(request: Request, limit: int, timeout: float) -> bytes:
    """Read the body of a request, of at most ``limit`` bytes, in at most ``timeout`` seconds.

    Raises PayloadTooLarge, InvalidBody if the client disconnects, and HTTPException 408 after the timeout.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(timeout):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise HTTPException(
            HTTPStatus.REQUEST_TIMEOUT, f"The body did not arrive within {timeout:g} s", {"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise InvalidBody("The body ended early") from None
    return bytes(body)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {limit} bytes")

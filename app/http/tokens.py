"""Bearer tokens and the rights that they give."""

import hmac
from collections.abc import Callable, Coroutine, Iterable
from typing import Annotated, Any

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.errors import Forbidden, Unauthorized
from app.http.gateway import CurrentGateway, Tokens


def token_needed(
    bearer: HTTPBearer, tokens_of: Callable[[Tokens], tuple[bytes, ...]], *, closed: str | None
) -> Callable[..., Coroutine[Any, Any, None]]:
    """A dependency that admits only requests with one of these tokens. Raises Unauthorized.

    If the gateway has no such token, every request is admitted or, with ``closed`` as the reason, refused with Forbidden.
    """

    async def check(
        gateway: CurrentGateway, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
    ) -> None:
        tokens = tokens_of(gateway.tokens)
        if tokens:
            check_token(credentials, tokens)
        elif closed is not None:
            raise Forbidden(closed)

    return check


def check_token(credentials: HTTPAuthorizationCredentials | None, tokens: Iterable[bytes]) -> None:
    """Raises Unauthorized unless the credentials are one of the tokens."""
    if credentials is None:
        raise Unauthorized("A bearer token is needed")
    given = credentials.credentials.encode("latin-1")
    # All tokens are compared, so that the time taken does not reveal which one is similar.
    matches = [hmac.compare_digest(given, token) for token in tokens]
    if not any(matches):
        raise Unauthorized("The bearer token is not known")

"""The bearer tokens that stand for a right."""

import hmac
from collections.abc import Iterable

from fastapi.security import HTTPAuthorizationCredentials

from app.errors import Unauthorized


def check_token(credentials: HTTPAuthorizationCredentials | None, tokens: Iterable[bytes]) -> None:
    """Let pass whose credentials are one of the tokens. Raises Unauthorized."""
    if credentials is None:
        raise Unauthorized("A bearer token is needed")
    given = credentials.credentials.encode("latin-1")
    # Every token is compared, so that the time taken says nothing about which one came near.
    matches = [hmac.compare_digest(given, token) for token in tokens]
    if not any(matches):
        raise Unauthorized("The bearer token is not known")

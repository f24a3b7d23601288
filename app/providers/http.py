"""What every provider does over HTTP: open a client, bound the answer, name a failure, and ask again after one that may pass."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from app.backoff import Backoff
from app.errors import SourceError

T = TypeVar("T")

CONNECTS_WITHIN = 10.0

_MOST_ATTEMPTS = 5
_LONGEST_REASON = 200

_logger = logging.getLogger(__name__)


class Interrupted(Exception):
    """A failure that may pass: another attempt may succeed, after ``wait`` seconds at the earliest."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def certificates() -> ssl.SSLContext:
    """Load the certificates to trust. This takes long enough to be done once. Raises SourceError as ``open_client`` does."""
    with _usable_environment():
        return httpx.create_ssl_context()


def open_client(answers_within: float, **options: Any) -> httpx.AsyncClient:
    """Open a client that uses the proxies and certificates named in the environment; the options are those of httpx.

    Raises SourceError when the environment names some that cannot be used.
    """
    headers = {"User-Agent": "fx-gateway", **options.pop("headers", {})}
    timeout = httpx.Timeout(answers_within, connect=CONNECTS_WITHIN, pool=None)
    with _usable_environment():
        return httpx.AsyncClient(headers=headers, timeout=timeout, **options)


@contextmanager
def _usable_environment() -> Iterator[None]:
    try:
        yield
    except (ValueError, ImportError, OSError, httpx.InvalidURL):
        # Without the cause, which may hold the password of a proxy.
        raise SourceError("The proxies or certificates that the environment names cannot be used") from None


@contextmanager
def interruptions(presentable: Callable[[object], str]) -> Iterator[None]:
    """Raise Interrupted in place of timeouts and the errors of httpx, worded by ``presentable``."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise Interrupted(f"cannot connect within {CONNECTS_WITHIN:g} s") from error
    except httpx.ConnectError as error:
        raise Interrupted(f"cannot connect: {presentable(_origin(error))}") from error
    except (httpx.TimeoutException, TimeoutError) as error:
        raise Interrupted("no answer in time") from error
    except httpx.HTTPError as error:
        raise Interrupted(f"the connection broke off: {presentable(_origin(error))}") from error


async def read_body(response: httpx.Response, largest: int) -> bytes:
    """Read the body, or somewhat more than ``largest`` bytes of it when it is longer."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > largest:
            break
    return bytes(body)


async def ask_persistently(provider: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Return what ``ask`` returns, retrying with backoff when it raises Interrupted. Raises SourceError after five attempts."""
    backoff = Backoff()
    for attempts_left in reversed(range(_MOST_ATTEMPTS)):
        try:
            return await ask()
        except Interrupted as interruption:
            if not attempts_left:
                raise SourceError(f"{provider} does not answer in {_MOST_ATTEMPTS} attempts: {interruption}") from interruption
            pause = max(backoff.pause_after(0), interruption.wait)
            _logger.warning("%s does not answer: %s; retrying in %.1f s", provider, interruption, pause)
        await asyncio.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def presentable(reason: object) -> str:
    """Shorten text from outside to one line of a length fit for a log or an error message."""
    return " ".join(str(reason).split())[:_LONGEST_REASON]


def _origin(error: BaseException) -> str:
    """Return what the operating system or the protocol reported: httpx may only say that something failed."""
    while (origin := error.__cause__ or error.__context__) is not None:
        error = origin
    return str(error) or type(error).__name__

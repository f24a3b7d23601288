"""Asking OANDA's v20 API: who we are, how often, what its refusals mean, and when to ask again.

Source: the development guide and the best practices in OANDA's v20 documentation, developer.oanda.com: at most 120 requests
and 2 new connections a second, better one connection that lasts and no more than 100 requests a second.
"""

import asyncio
import logging
import re
import ssl
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self

import httpx

from app.backoff import Backoff
from app.errors import NotOffered, SourceError, SourceRefused
from app.providers.exact_json import read_object
from app.providers.pace import until

_BETWEEN_REQUESTS = 0.01
_BETWEEN_CONNECTIONS = 0.6  # and not 0.5: on its way one may lose a little time that the next does not
_MOST_ATTEMPTS = 5
_CONNECTS_WITHIN = 10.0
_ANSWERS_WITHIN = 30.0
_ENDS_WITHIN = 120.0
_STAYS_OPEN = 55.0
_AFTER_TOO_MANY = 1.0
_LARGEST_ANSWER = 32_000_000
_LARGEST_REFUSAL = 65_536
_LONGEST_REASON = 200

_REFUSED_FOR_GOOD = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND}
_NOT_OFFERED = ("Invalid value specified for 'instrument'", "Invalid value specified for 'granularity'")
"""OANDA's words for a pair, or a length of bars, that it does not have."""

_TOKEN = re.compile(r"[\x21-\x7e]+")

_logger = logging.getLogger(__name__)


class Interrupted(Exception):
    """A failure that may pass. ``wait`` is the seconds to let go by before another attempt, at least."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Spacing:
    """Turns that come ``interval`` seconds after each other, or later."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = 0.0

    async def turn(self) -> None:
        """Return when it is the caller's turn, in the order of the calls."""
        due = max(self._next, time.monotonic())
        self._next = due + self._interval
        await until(due)


class OandaApi:
    """The two hosts of the API, one for answers and one for streams, asked with one token.

    Answers come over few connections, which are kept while anyone is inside ``async with``. The proxies and certificates
    that the environment names are used.
    """

    def __init__(self, token: str, rest_url: str, stream_url: str) -> None:
        """Raises SourceError for a token that no header can carry, and for what is no URL."""
        self._token = token.strip()
        if _TOKEN.fullmatch(self._token) is None:
            raise SourceError("The OANDA token is empty, or has characters that no token has")
        self._rest_url, self._stream_url = _checked(rest_url), _checked(stream_url)
        self._connections = Spacing(_BETWEEN_CONNECTIONS)
        self._requests = Spacing(_BETWEEN_REQUESTS)
        self._tls: ssl.SSLContext | None = None
        self._client: httpx.AsyncClient | None = None
        self._users = 0

    async def __aenter__(self) -> Self:
        if self._client is None:
            self._client = self._open(_ANSWERS_WITHIN, most_connections=2)
        self._users += 1
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._users -= 1
        if self._users == 0 and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def get(self, path: str, parameters: Mapping[str, str] | None = None) -> dict[str, object]:
        """An answer, asked for again a few times where that may help. Raises SourceError, SourceRefused."""
        backoff, attempts = Backoff(), 0
        while True:
            try:
                return await self.get_once(path, parameters)
            except Interrupted as interruption:
                attempts += 1
                if attempts == _MOST_ATTEMPTS:
                    raise SourceError(f"OANDA does not answer in {_MOST_ATTEMPTS} attempts: {interruption}") from interruption
                pause = max(backoff.pause_after(0), interruption.wait)
                _logger.warning("OANDA does not answer: %s; asked again in %.1f s", interruption, pause)
                await asyncio.sleep(pause)

    async def get_once(self, path: str, parameters: Mapping[str, str] | None = None) -> dict[str, object]:
        """An answer, asked for once, inside ``async with``. Raises SourceError, SourceRefused, or Interrupted."""
        if self._client is None:
            raise ValueError("the API is asked within `async with` only")
        await self._requests.turn()
        with self._interruptions():
            async with (
                asyncio.timeout(_ENDS_WITHIN),
                self._client.stream("GET", self._rest_url + path, params=parameters, extensions=self._pace) as response,
            ):
                await self._check(response)
                body = await _body(response, _LARGEST_ANSWER)
        if len(body) > _LARGEST_ANSWER:
            raise SourceError(f"OANDA answers with more than {_LARGEST_ANSWER} bytes")
        try:
            return read_object(body)
        except ValueError as error:
            raise Interrupted("what answers is not OANDA's API, or its answer is damaged") from error

    @asynccontextmanager
    async def stream(self, path: str, parameters: Mapping[str, str], silence: float) -> AsyncGenerator[httpx.Response]:
        """A stream that has begun, over a connection of its own. No answer, or no byte, for ``silence`` seconds ends it.

        Raises SourceError, SourceRefused, or Interrupted, also for what goes wrong with the response inside ``async with``.
        """
        with self._interruptions():
            # Uncompressed, since a line must not wait in the buffer of a compressor for those that follow.
            async with (
                self._open(silence, most_connections=1) as client,
                client.stream(
                    "GET",
                    self._stream_url + path,
                    params=parameters,
                    headers={"Accept-Encoding": "identity"},
                    extensions=self._pace,
                ) as response,
            ):
                async with asyncio.timeout(silence):
                    await self._check(response)
                yield response

    def _open(self, answers_within: float, most_connections: int) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._token}", "Accept-Datetime-Format": "RFC3339", "User-Agent": "fx-gateway"}
        timeout = httpx.Timeout(answers_within, connect=_CONNECTS_WITHIN, pool=None)
        limits = httpx.Limits(max_connections=most_connections, keepalive_expiry=_STAYS_OPEN)
        try:
            self._tls = self._tls or httpx.create_ssl_context()
            return httpx.AsyncClient(headers=headers, timeout=timeout, limits=limits, verify=self._tls)
        except (ValueError, ImportError, OSError, httpx.InvalidURL):
            # Without the cause, which may hold the password of a proxy.
            raise SourceError("The proxies or certificates that the environment names cannot be used") from None

    @property
    def _pace(self) -> dict[str, object]:
        """What makes httpx wait for its turn before it opens a connection, for whatever reason it does."""
        return {"trace": self._trace}

    async def _trace(self, event: str, _: Mapping[str, object]) -> None:
        if event == "connection.connect_tcp.started":
            await self._connections.turn()

    @contextmanager
    def _interruptions(self) -> Iterator[None]:
        """Raises Interrupted in place of what goes wrong with a connection."""
        try:
            yield
        except httpx.ConnectTimeout as error:
            raise Interrupted(f"cannot connect within {_CONNECTS_WITHIN:g} s") from error
        except httpx.ConnectError as error:
            raise Interrupted(f"cannot connect: {self._presentable(_origin(error))}") from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise Interrupted("nothing heard in time") from error
        except httpx.HTTPError as error:
            raise Interrupted(f"the connection broke off: {self._presentable(_origin(error))}") from error

    async def _check(self, response: httpx.Response) -> None:
        """Raise what an answer other than 200 amounts to."""
        status = response.status_code
        if status == httpx.codes.OK:
            return
        said = _error_message(await _body(response, _LARGEST_REFUSAL))
        request = response.headers.get("RequestID")
        reason = self._presentable(
            f"status {status}" + (f", {said}" if said else "") + (f" (RequestID {request})" if request else "")
        )
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise Interrupted(reason, _AFTER_TOO_MANY)
        if response.is_server_error:
            raise Interrupted(reason)
        if status == httpx.codes.BAD_REQUEST and said in _NOT_OFFERED:
            raise NotOffered(f"OANDA refuses the request: {reason}")
        _logger.warning("OANDA refuses %s: %s", response.url.path, reason)
        if status in _REFUSED_FOR_GOOD:
            raise SourceRefused(f"OANDA refuses us: {reason}")
        raise SourceError(f"OANDA refuses the request: {reason}")

    def _presentable(self, reason: object) -> str:
        """What others said, on one line, not too long, and without the token should it come back to us."""
        return " ".join(str(reason).replace(self._token, "…").split())[:_LONGEST_REASON]


def _origin(error: BaseException) -> str:
    """What the operating system or the protocol said: httpx may only say that something failed."""
    while (origin := error.__cause__ or error.__context__) is not None:
        error = origin
    return str(error) or type(error).__name__


async def _body(response: httpx.Response, largest: int) -> bytes:
    """The body, or somewhat more than ``largest`` bytes of it."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > largest:
            break
    return bytes(body)


def _error_message(body: bytes) -> str:
    """What OANDA says of a refusal; empty where it is not OANDA who speaks, as with a page of a proxy."""
    try:
        message = read_object(body).get("errorMessage")
    except ValueError:
        return ""
    return message if isinstance(message, str) else ""


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.userinfo:
        raise SourceError("The address of OANDA's API is not an http or https URL without a password")
    return url.rstrip("/")

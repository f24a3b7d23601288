"""Requests to OANDA's v20 API: the token, how often to ask, what a refusal means, and when to retry.

Source: the development guide and the best practices in OANDA's v20 documentation, developer.oanda.com: at most 120 requests
and 2 new connections a second; better one lasting connection and no more than 100 requests a second.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Self

import httpx

from app.errors import NotOffered, SourceError, SourceRefused
from app.providers.exact_json import read_object
from app.providers.http import Interrupted, ask_persistently, certificates, interruptions, open_client, presentable, read_body
from app.providers.pace import Spacing

_BETWEEN_REQUESTS = 0.01
_BETWEEN_CONNECTIONS = 0.6  # more than 0.5: a connection may be delayed on its way, and the next one not
_ANSWERS_WITHIN = 30.0
_ENDS_WITHIN = 120.0
_STAYS_OPEN = 55.0
_AFTER_TOO_MANY = 1.0
_LARGEST_ANSWER = 32_000_000
_LARGEST_REFUSAL = 65_536

_REFUSED_FOR_GOOD = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND}
_NOT_OFFERED = ("Invalid value specified for 'instrument'", "Invalid value specified for 'granularity'")
"""OANDA's message for a pair, or a length of bars, that it does not have."""

_TOKEN = re.compile(r"[\x21-\x7e]+")

_logger = logging.getLogger(__name__)


class OandaApi:
    """The two hosts of the API, one for answers and one for streams, asked with one token.

    Answers share a few connections, which stay open while any caller is inside ``async with``. The proxies and certificates
    named in the environment are used.
    """

    def __init__(self, token: str, rest_url: str, stream_url: str) -> None:
        """Raises SourceError for a token that no header can carry, and for anything but a URL."""
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
        """Return an answer, retrying a few times after failures that may pass. Raises SourceError, SourceRefused."""
        return await ask_persistently("OANDA", partial(self.get_once, path, parameters))

    async def get_once(self, path: str, parameters: Mapping[str, str] | None = None) -> dict[str, object]:
        """Return an answer to a single request, inside ``async with``. Raises SourceError, SourceRefused, or Interrupted."""
        if self._client is None:
            raise ValueError("the API can be asked inside `async with` only")
        await self._requests.turn()
        with interruptions(self._presentable):
            async with (
                asyncio.timeout(_ENDS_WITHIN),
                self._client.stream("GET", self._rest_url + path, params=parameters, extensions=self._pace) as response,
            ):
                await self._check(response)
                body = await read_body(response, _LARGEST_ANSWER)
        if len(body) > _LARGEST_ANSWER:
            raise SourceError(f"OANDA answers with more than {_LARGEST_ANSWER} bytes")
        try:
            return read_object(body)
        except ValueError as error:
            raise Interrupted("the answer is damaged, or not from OANDA's API") from error

    @asynccontextmanager
    async def stream(self, path: str, parameters: Mapping[str, str], silence: float) -> AsyncGenerator[httpx.Response]:
        """Open a stream over a connection of its own. It ends when no answer, or no byte, has come for ``silence`` seconds.

        Raises SourceError, SourceRefused, or Interrupted, also for failures of the response inside ``async with``.
        """
        with interruptions(self._presentable):
            # Uncompressed, so that no line waits in a compressor's buffer for those that follow.
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
        self._tls = self._tls or certificates()
        return open_client(
            answers_within,
            headers={"Authorization": f"Bearer {self._token}", "Accept-Datetime-Format": "RFC3339"},
            limits=httpx.Limits(max_connections=most_connections, keepalive_expiry=_STAYS_OPEN),
            verify=self._tls,
        )

    @property
    def _pace(self) -> dict[str, object]:
        """The extension that makes httpx wait for its turn before it opens a connection, for whatever reason it opens one."""
        return {"trace": self._trace}

    async def _trace(self, event: str, _: Mapping[str, object]) -> None:
        if event == "connection.connect_tcp.started":
            await self._connections.turn()

    async def _check(self, response: httpx.Response) -> None:
        """Raise the error that a status other than 200 stands for."""
        status = response.status_code
        if status == httpx.codes.OK:
            return
        message = _error_message(await read_body(response, _LARGEST_REFUSAL))
        request = response.headers.get("RequestID")
        reason = self._presentable(
            f"status {status}" + (f", {message}" if message else "") + (f" (RequestID {request})" if request else "")
        )
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise Interrupted(reason, _AFTER_TOO_MANY)
        if response.is_server_error:
            raise Interrupted(reason)
        if status == httpx.codes.BAD_REQUEST and message in _NOT_OFFERED:
            raise NotOffered(f"OANDA refuses the request: {reason}")
        _logger.warning("OANDA refuses %s: %s", response.url.path, reason)
        if status in _REFUSED_FOR_GOOD:
            raise SourceRefused(f"OANDA refuses us: {reason}")
        raise SourceError(f"OANDA refuses the request: {reason}")

    def _presentable(self, reason: object) -> str:
        """Shorten text from outside, and remove the token in case it was sent back."""
        return presentable(str(reason).replace(self._token, "…"))


def _error_message(body: bytes) -> str:
    """Return OANDA's own explanation of a refusal; empty when the answer is not OANDA's, such as a page of a proxy."""
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

"""A connection to Kraken's WebSocket API, version 2, which needs no key.

Source: the guide to the WebSocket API in Kraken's documentation, docs.kraken.com. Once anything is subscribed to, a heartbeat
comes about every second in which there is no other message.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidProxy, WebSocketException

from app.errors import SourceError
from app.providers.http import Interrupted, presentable
from app.providers.kraken.messages import Message, read_message
from app.providers.passed_over import PassedOver

_CONNECTS_WITHIN = 10.0
_CLOSES_WITHIN = 1.0
_LARGEST_MESSAGE = 8_000_000
"""In bytes. The largest message, the list of everything Kraken trades, has about a tenth of this."""


class KrakenStream:
    """An open connection."""

    def __init__(self, socket: ClientConnection, silence: float, passed_over: PassedOver) -> None:
        self._socket = socket
        self._silence = silence
        self._passed_over = passed_over

    async def subscribe(self, parameters: Mapping[str, object]) -> None:
        """Send a subscription; the answer arrives as a message. Raises Interrupted."""
        try:
            async with asyncio.timeout(self._silence):
                await self._socket.send(json.dumps({"method": "subscribe", "params": parameters}))
        except TimeoutError:
            raise Interrupted(f"nothing could be sent for {self._silence:g} s") from None
        except ConnectionClosed as error:
            raise Interrupted(f"the connection broke off: {presentable(error)}") from error

    async def receive(self) -> Message:
        """Return the next readable message. Raises Interrupted when none comes within the time allowed for silence.

        Only time spent in this call counts as silence, not the time between calls.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._silence
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    text = await self._socket.recv()
            except TimeoutError:
                raise Interrupted(f"no message for {self._silence:g} s") from None
            except ConnectionClosed as error:
                raise Interrupted(f"the connection broke off: {presentable(error)}") from error
            message = read_message(text, self._passed_over)
            if message is not None:
                return message
            # A buffered message is received without waiting, so a flood of unreadable ones would never reach the timeout.
            if clock() >= deadline:
                raise Interrupted(f"no readable message for {self._silence:g} s")


@asynccontextmanager
async def open_stream(url: str, silence: float, passed_over: PassedOver) -> AsyncGenerator[KrakenStream]:
    """Open a connection and close it on leaving. Raises Interrupted when that fails, SourceError when it can never succeed."""
    socket = connect(
        url,
        open_timeout=_CONNECTS_WITHIN,
        close_timeout=_CLOSES_WITHIN,
        max_size=_LARGEST_MESSAGE,
        user_agent_header="fx-gateway",
    )
    try:
        connection = await socket
    except (InvalidProxy, ValueError, ImportError):
        # Without the cause, which may hold the password of a proxy.
        raise SourceError("The proxies that the environment names cannot be used") from None
    except (OSError, WebSocketException) as error:
        raise Interrupted(f"cannot connect: {presentable(error)}") from error
    async with connection:
        yield KrakenStream(connection, silence, passed_over)

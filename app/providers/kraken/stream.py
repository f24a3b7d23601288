"""A connection to Kraken's WebSocket API, version 2, which needs no key.

Source: the guide to the WebSocket API in Kraken's documentation, docs.kraken.com. Where nothing else is to be said a heartbeat
comes about once a second, as soon as anything is subscribed to.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidProxy, WebSocketException

from app.errors import SourceError
from app.providers.kraken.messages import Message, read_message

_CONNECTS_WITHIN = 10.0
_CLOSES_WITHIN = 1.0
_LARGEST_MESSAGE = 8_000_000
"""In bytes. The list of all that Kraken trades is the largest, and has about a tenth of it."""

_LONGEST_REASON = 200


class Interrupted(Exception):
    """A connection that could not be made, broke off or fell silent: another may fare better."""


class KrakenStream:
    """A connection that is open. ``passed_over`` counts what came and could not be used, by the reason."""

    def __init__(self, socket: ClientConnection, silence: float, passed_over: Counter[str]) -> None:
        self._socket = socket
        self._silence = silence
        self._passed_over = passed_over

    async def subscribe(self, parameters: Mapping[str, object]) -> None:
        """Ask for a channel. The answer comes as a message. Raises Interrupted."""
        try:
            async with asyncio.timeout(self._silence):
                await self._socket.send(json.dumps({"method": "subscribe", "params": parameters}))
        except TimeoutError:
            raise Interrupted(f"nothing can be said for {self._silence:g} s") from None
        except ConnectionClosed as error:
            raise Interrupted(f"the connection broke off: {presentable(error)}") from error

    async def receive(self) -> Message:
        """The next message that can be read. Raises Interrupted where none comes for the seconds of silence.

        Only the time spent in here is silence, not that between two calls.
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
            # What is there already is received without waiting, so that no timeout would end a flood of it.
            if clock() >= deadline:
                raise Interrupted(f"no message that can be read for {self._silence:g} s")


@asynccontextmanager
async def open_stream(url: str, silence: float, passed_over: Counter[str]) -> AsyncGenerator[KrakenStream]:
    """A connection, closed at the end. Raises Interrupted where it cannot be made, SourceError where it never can."""
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


def presentable(reason: object) -> str:
    """What others said, on one line and not too long."""
    return " ".join(str(reason).split())[:_LONGEST_REASON]

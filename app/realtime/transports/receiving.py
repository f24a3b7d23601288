"""What clients send over websockets past ASGI, taken in one message after the other."""

import asyncio
from collections.abc import Awaitable

from app.realtime.wire.wire import Wire, WireUser

MOST_UNREAD = 16
"""Messages of a client that wait to be taken in before no more are read from its connection."""


class Receiver(WireUser):
    """The user of a websocket's wire. No task waits for what the client sends: one is started when there is something."""

    __slots__ = ("_is_receiving", "_received", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._received: list[str | bytes] = []
        self._is_receiving = False

    @property
    def has_ended(self) -> bool:
        """True once nothing more is taken in."""
        raise NotImplementedError

    async def receive(self, message: str | bytes) -> None:
        """Take in one message."""
        raise NotImplementedError

    def spawn(self, work: Awaitable[None]) -> None:
        """Run something that the caller cannot wait for."""
        raise NotImplementedError

    def wire_received(self, message: str | bytes) -> None:
        self._received.append(message)
        if len(self._received) > MOST_UNREAD:
            self.wire.transport.pause_reading()
        if not self._is_receiving:
            self._is_receiving = True
            self.spawn(self._receive_all())

    async def _receive_all(self) -> None:
        """Take in the messages that have arrived, until there are no more."""
        while self._received and not self.has_ended:
            messages, self._received = self._received, []
            for message in messages:
                if self.has_ended:
                    return
                await self.receive(message)
                await asyncio.sleep(0)  # a client that sends a lot at once does not keep the others waiting
            if not self.wire.transport.is_closing():
                self.wire.transport.resume_reading()
        self._is_receiving = False

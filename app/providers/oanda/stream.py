"""OANDA's stream of prices: a JSON object per line, with a heartbeat every five seconds without a price.

Source: the endpoint for the pricing stream in OANDA's v20 documentation, developer.oanda.com, and its advice to reconnect after
ten seconds without either.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote

from app.providers.exact_json import read_object
from app.providers.http import Interrupted
from app.providers.oanda.api import OandaApi
from app.providers.passed_over import MALFORMED, PassedOver

_LONGEST_LINE = 1_000_000


class MessageType(StrEnum):
    """The kind of a line in the stream, by OANDA's names."""

    PRICE = "PRICE"
    HEARTBEAT = "HEARTBEAT"


class Message(NamedTuple):
    """A line of the stream."""

    type: MessageType
    body: Mapping[str, object]


class Lines:
    """Splits a stream of bytes into lines, wherever its pieces were cut. Notes lines that are too long as malformed."""

    def __init__(self, passed_over: PassedOver) -> None:
        self._passed_over = passed_over
        self._rest = bytearray()
        self._too_long = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the lines completed by this piece, without line ends and empty lines."""
        lines = []
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._append(end)
            if not self._too_long and (line := bytes(self._rest).strip()):
                lines.append(line)
            self._rest.clear()
            self._too_long = False
        self._append(rest)
        return lines

    def _append(self, part: bytes) -> None:
        if not self._too_long and len(self._rest) + len(part) > _LONGEST_LINE:
            self._passed_over.note(MALFORMED)
            self._too_long = True
            self._rest.clear()
        if not self._too_long:
            self._rest += part


async def stream_messages(
    api: OandaApi, account: str, names: Iterable[str], silence: float, passed_over: PassedOver
) -> AsyncGenerator[Message]:
    """Yield the prices and heartbeats of these instruments over one connection, the last price of each first.

    Notes anything else in ``passed_over``. Raises Interrupted when the stream ends, or is silent for ``silence`` seconds, and
    SourceError or SourceRefused. The time that the reader takes between two messages does not count as silence.
    """
    path = f"/v3/accounts/{quote(account, safe='')}/pricing/stream"
    parameters = {"instruments": ",".join(names), "snapshot": "true"}
    clock, lines = asyncio.get_running_loop().time, Lines(passed_over)
    async with api.stream(path, parameters, silence) as response:
        pieces = response.aiter_bytes()
        patience = silence
        while True:
            started = clock()
            try:
                async with asyncio.timeout(patience):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                raise Interrupted("OANDA has ended the stream") from None
            except TimeoutError:
                raise Interrupted(f"neither price nor heartbeat for {silence:g} s") from None
            patience -= clock() - started
            for line in lines.feed(piece):
                message = _read_message(line, passed_over)
                if message is not None:
                    patience = silence
                    yield message


def _read_message(line: bytes, passed_over: PassedOver) -> Message | None:
    try:
        body = read_object(line)
    except ValueError:
        passed_over.note(MALFORMED)
        return None
    try:
        return Message(MessageType(str(body.get("type"))), body)
    except ValueError:
        passed_over.note("unknown type")
        return None

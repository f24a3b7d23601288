"""Packets of Engine.IO, protocol 4, as text and as websocket frames.

A packet is a digit and its data. Binary data stands in a websocket's binary frame without a digit, and elsewhere as ``b`` and
base64. Several packets in one HTTP body are separated by the byte 0x1E.
"""

import base64
import binascii
from collections.abc import Iterable

from app.realtime.hub.frames import websocket_text

LARGEST_MESSAGE = 1_100_000
"""Bytes of one message from a client, or of one request body with packets."""

MOST_PACKETS_A_POLL = 16
"""Packets in the answer to a poll: python-engineio's client refuses more."""

MOST_PACKETS_A_POST = 1000
"""Packets in one request."""

CLOSE, PONG, MESSAGE, UPGRADE = "1", "3", "4", "5"
"""The packets a client may send. ``0`` (open), ``2`` (ping) and ``6`` (no operation) come from the server."""

CLOSED, PING, NOOP = b"1", b"2", b"6"

PROBE, PROBE_ANSWER = "2probe", "3probe"
"""The exchange that shows that a websocket works before a session changes over to it."""

_SEPARATOR = "\x1e"
_FROM_CLIENT = frozenset((CLOSE, PONG, MESSAGE, UPGRADE))
_BASE64 = 0x62  # b


class InvalidPacket(ValueError):
    """Bytes from a client that the protocol does not allow. They end the session."""


def message(data: str | bytes) -> bytes:
    """Return the packet of a message, text or binary."""
    return b"b" + base64.b64encode(data) if isinstance(data, bytes) else b"4" + data.encode()


def read(packet: str | bytes) -> tuple[str, str | bytes]:
    """Return the type and the data of a client's packet; bytes are a binary message. Raises InvalidPacket."""
    if isinstance(packet, bytes):
        return MESSAGE, packet
    kind = packet[:1]
    if kind in _FROM_CLIENT:
        return kind, packet[1:]
    if kind != "b":
        raise InvalidPacket("not a packet of a client")
    try:
        return MESSAGE, base64.b64decode(packet[1:], validate=True)
    except binascii.Error:
        raise InvalidPacket("not base64") from None


def joined(packets: Iterable[bytes]) -> bytes:
    """Return the body of an answer with these packets."""
    return _SEPARATOR.encode().join(packets)


def split(body: bytes) -> list[str]:
    """Return the packets in the body of a request."""
    return body.decode("utf-8", "replace").split(_SEPARATOR) if body else []


def websocket_message(packet: bytes) -> str | bytes:
    """Return a packet as the message of a websocket."""
    return base64.b64decode(packet[1:]) if packet[0] == _BASE64 else packet.decode()


def websocket_frame(packet: bytes) -> bytes:
    """Return a packet as a complete frame of a websocket."""
    if packet[0] != _BASE64:
        return websocket_text(packet)
    frame = websocket_text(base64.b64decode(packet[1:]))
    return b"\x82" + frame[1:]  # the same frame with the opcode of binary data: RFC 6455, section 5.2

"""An Engine.IO session: one client over polling requests, a websocket, or first the one and then the other.

Every packet goes through the client's ``Subscription``: straight to the connection if a wire leads there, otherwise through
its bounded outbox. So nothing queues up without bound, and all packets of a client have one order.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from time import monotonic
from typing import Protocol

from app.realtime.hub.delivery import Fetching
from app.realtime.hub.frames import ENGINE_PACKETS
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import CutReason
from app.realtime.hub.subscription import Subscription
from app.realtime.transports.engine import packet
from app.realtime.wire.wire import Wire

CONNECT_WITHIN = 10.0
"""Seconds in which a session must connect to a namespace of Socket.IO."""

PATIENCE = 1.45
"""Heartbeats, each a ping's interval and timeout, without a sign of life after which a client is gone: 43.5 s by default."""

MUTE_PATIENCE = 4
"""Heartbeats after which a client is gone that sends nothing, whatever its kernel takes: 120 s by default."""

PINGS_AFTER = 0.8
"""The share of the ping interval after which the next ping is sent.

Stock clients leave when a ping is later than the announced interval and timeout. Sent early, it may be late by 10 s: by a line
that stalls, or a client without a processor.
"""

_NEVER_CONNECTED = "never connected"


class Reason(StrEnum):
    """Why a session ends, in the words of python-socketio."""

    CLIENT = "client disconnect"
    SERVER = "server disconnect"
    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"


class Host(Protocol):
    """The server, as its sessions need it."""

    hub: Hub
    ping_interval: float
    ping_timeout: float

    async def receive(self, session: "Session", data: str | bytes) -> None:
        """Take in a message. Raises InvalidPacket."""

    def forget(self, session: "Session", reason: str) -> None:
        """Forget a session that has ended."""

    def spawn(self, work: Awaitable[None]) -> None:
        """Run something that the caller cannot wait for."""


class Line(Protocol):
    """The websocket of a session."""

    @property
    def wire(self) -> Wire | None:
        """The wire of the websocket, None if the server offers none."""

    def attach(self, client: Subscription) -> None:
        """Send what the client is sent from here on over this websocket."""

    def end(self, *, abort: bool) -> None:
        """Close the websocket, dropping what is unsent if ``abort``."""


class Session:
    """One Engine.IO session."""

    __slots__ = (
        "_awaits_pong", "_bell", "_connect_timer", "_ends_polls", "_engine", "_heard_at", "_line", "_ping_timer", "_reason",
        "client", "is_closed", "is_polling", "is_probing", "is_upgraded", "poll_wire", "sid", "user",
    )  # fmt: skip

    def __init__(self, engine: Host, sid: str) -> None:
        self._engine = engine
        self.sid = sid
        self.user: object = None
        """What the layer above keeps with the session."""
        self.is_closed = False
        self.is_polling = False
        """True while a poll waits for its answer."""
        self.is_probing = False
        """True while a websocket shows that the session can change over to it."""
        self._ends_polls = False
        self.is_upgraded = False
        """True once a websocket serves the session, for good."""
        self.poll_wire: Wire | None = None
        """The wire of the newest poll, if the server offers one."""
        self._line: Line | None = None
        self._heard_at = monotonic()
        self._reason: str | None = None
        self._bell: asyncio.Event | None = None
        self._awaits_pong = True  # as if the ping before the first had to be answered
        self._ping_timer: asyncio.TimerHandle | None = None
        self._connect_timer: asyncio.TimerHandle | None = None
        self.await_namespace(CONNECT_WITHIN)
        self.client = self._new_client()

    def _new_client(self) -> Subscription:
        return Subscription(
            self.sid,
            "polling",
            ENGINE_PACKETS,
            self._engine.hub.bounds,
            Fetching(self.ring),
            cut=self._cut,
            finish=self._finish,
        )

    # ------------------------------------------------------------ namespaces

    def await_namespace(self, within: float) -> None:
        """Cut the session off unless it connects to a namespace within this many seconds."""
        self.connected_to_namespace()
        self._connect_timer = asyncio.get_running_loop().call_later(within, self._cut, _NEVER_CONNECTED)

    def connected_to_namespace(self) -> None:
        """Stop the timer for connecting to a namespace."""
        if self._connect_timer is not None:
            self._connect_timer.cancel()
            self._connect_timer = None

    def left_namespace(self) -> None:
        """Go on without a namespace: the hub has closed the client's subscription, and pings need another.

        The session is pinged for three intervals and then cut off, unless it connects again.
        """
        self.client = self._new_client()
        if self._line is not None:
            self._line.attach(self.client)
        self.await_namespace(max(CONNECT_WITHIN, 3 * self._engine.ping_interval + self._engine.ping_timeout))

    # ------------------------------------------------------------ sending

    def send(self, data: str | bytes) -> None:
        """Send a message after everything that was sent before."""
        self.send_packet(packet.message(data))

    def send_packet(self, encoded: bytes) -> None:
        """Send an encoded packet after everything that was sent before."""
        if not self.client.closed:
            self.client.send_frame(packet.websocket_frame(encoded) if self.client.is_direct else encoded)

    def take(self) -> Sequence[bytes]:
        """Return what waits for a client without a wire, at most as many packets as one poll may carry."""
        return self._engine.hub.fetch(self.client, packet.MOST_PACKETS_A_POLL)

    @property
    def was_invalid(self) -> bool:
        """True for a session that has ended because its client sent what is no packet."""
        return self._reason == CutReason.NOT_A_PACKET

    async def next_packets(self) -> Sequence[bytes]:
        """Wait for packets, at most until the next ping, and return them as the answer to a poll."""
        while not (self.is_closed or self._ends_polls or self.is_upgraded):
            if packets := self.take():
                return packets
            await self.something_waits()
        # A client that has closed the session is not to take this for news: it gets what ends a poll before an upgrade.
        return (packet.CLOSED if self.is_closed and self._reason != Reason.CLIENT else packet.NOOP,)

    async def something_waits(self) -> None:
        """Wait until there may be packets to take, or until the session changes."""
        # Created when needed: an event is not small, and most clients have a wire.
        self._bell = self._bell or asyncio.Event()
        self._bell.clear()
        await self._bell.wait()

    def ring(self) -> None:
        """Wake what waits in ``something_waits``."""
        if self._bell is not None:
            self._bell.set()

    def end_polls(self, ends: bool) -> None:
        """Answer polls at once and without data, or no longer: the client is about to change over."""
        self._ends_polls = ends
        self.ring()

    def spawn(self, work: Awaitable[None]) -> None:
        """Run something for this session that the caller cannot wait for."""
        self._engine.spawn(work)

    def upgrade(self, line: Line) -> None:
        """Go on over a websocket."""
        self.is_upgraded = True
        self._line = line
        self.ring()
        if self.is_closed:
            line.end(abort=True)
        else:
            line.attach(self.client)

    # ------------------------------------------------------------ receiving

    def hear(self) -> None:
        """Note that something has come from the client."""
        self._heard_at = monotonic()

    async def receive(self, encoded: str | bytes) -> None:
        """Take in one packet. One that the protocol does not allow ends the session."""
        self.hear()
        try:
            kind, data = packet.read(encoded)
            if kind == packet.MESSAGE:
                await self._engine.receive(self, data)
            elif kind == packet.PONG:
                self.receive_pong()
            elif kind == packet.CLOSE:
                self.end(Reason.CLIENT)
            else:
                self.send_packet(packet.NOOP)  # an upgrade where there is nothing to upgrade
        except packet.InvalidPacket:
            self.cut(CutReason.NOT_A_PACKET)

    # ------------------------------------------------------------ heartbeat

    def receive_pong(self) -> None:
        """Schedule the next ping, if one was answered."""
        if self._awaits_pong and not self.is_closed:
            self._awaits_pong = False
            self._set_ping_timer(PINGS_AFTER * self._engine.ping_interval, self._ping)

    @property
    def awaits_pong(self) -> bool:
        """True while a ping has not been answered."""
        return self._awaits_pong

    def _ping(self) -> None:
        self._awaits_pong = True
        self.send_packet(packet.PING)
        self._set_ping_timer(self._engine.ping_timeout, self._miss_pong)

    def _miss_pong(self) -> None:
        """Cut off a client that shows no sign of life. One that does may take longer to answer a ping, though not for ever.

        What its kernel takes is a sign as well: the ping may wait behind other data there, or the client for a processor.
        """
        if self._connect_timer is not None:  # it has no namespace, so nothing is sent that could keep it from answering
            self.cut(Reason.PING_TIMEOUT)
            return
        now, heartbeat = monotonic(), self._engine.ping_interval + self._engine.ping_timeout
        wire = self.poll_wire if self._line is None else self._line.wire
        heard_at = self._heard_at
        progressed_at = heard_at
        reason: str = Reason.PING_TIMEOUT
        if wire is not None and not wire.is_gone:
            line = wire.line
            heard_at = max(heard_at, line.received_at or 0.0)
            progressed_at = max(heard_at, line.progressed_at)
            if line.has_vanished:
                reason = CutReason.VANISHED
            elif line.unsent() and now - progressed_at >= heartbeat:
                reason = CutReason.NOT_READING
        # The kernel of a process that hangs goes on taking what is sent.
        until = min(progressed_at + PATIENCE * heartbeat, heard_at + MUTE_PATIENCE * heartbeat)
        if now < until:
            self._set_ping_timer(until - now, self._miss_pong)
        else:
            # A client that does not answer would not read a polite close either, so it is cut off.
            self.cut(reason)

    def _set_ping_timer(self, seconds: float, then: Callable[[], None]) -> None:
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        self._ping_timer = asyncio.get_running_loop().call_later(seconds, then)

    # ------------------------------------------------------------ the end

    def cut(self, reason: str) -> None:
        """End the session at once; the hub counts it if it serves the client."""
        self.client.cut(reason)

    def end(self, reason: str, *, abort: bool = False) -> None:
        """End the session: a poll is answered with a close, a websocket is closed, and dropped if ``abort``."""
        if self.is_closed:
            return
        self.is_closed = True
        self._reason = reason
        self.connected_to_namespace()
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        self._engine.hub.disconnect(self.client)
        self.client.close()
        self.ring()
        if self._line is not None:
            self._line.end(abort=abort)
        self._engine.forget(self, reason)

    def _cut(self, reason: str) -> None:
        self.end(reason, abort=True)

    def _finish(self) -> None:
        # The server closes websockets, with the code that makes clients reconnect.
        if not self.is_upgraded:
            self.end(Reason.SERVER)

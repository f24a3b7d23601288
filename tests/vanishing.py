"""Clients that vanish on a loopback: the kernel drops what arrives for them, unanswered. It takes no privilege."""

import socket

_IP_MINTTL = 21
_MOST_HOPS = 255


def drop_everything(connection: socket.socket) -> None:
    """Have the kernel drop every packet that arrives for a connection: none is even acknowledged.

    What arrives must have made no hop at all, and a sender counts from 64 (``IP_MINTTL``, see ip(7) and RFC 5082).
    """
    connection.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, _MOST_HOPS)

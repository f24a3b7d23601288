"""The addresses of a connection's ends, as ASGI has them."""

import asyncio

_MAPPED = "::ffff:"


def address_of(transport: asyncio.BaseTransport, end: str) -> tuple[str, int] | None:
    """Return the host and port of an end, ``peername`` or ``sockname``; None where it has none.

    An IPv4 client of an IPv6 socket has its IPv4 address (RFC 4291, section 2.5.5.2): trusted proxies are named by theirs.
    """
    address = transport.get_extra_info(end)
    if not isinstance(address, tuple):
        return None
    host = str(address[0])
    return host.removeprefix(_MAPPED) if "." in host else host, int(address[1])

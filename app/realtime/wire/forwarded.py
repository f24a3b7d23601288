"""What trusted proxies say of a request: its client, and the address under which the client sees the gateway.

``Forwarded`` is RFC 7239, the ``X-Forwarded-`` headers are what most proxies send. Of headers with several values the last one
counts, which the nearest proxy has added. Headers of peers that are not trusted are ignored.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from app.origin import Authority

_logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]

SCOPE_KEY = "fx_gateway.forwarded"
"""Where a scope has its ``Forwarded``, if a trusted proxy has sent any of the headers."""

_MOST_HOPS = 32
_LONGEST = 8192
_HEADERS = frozenset((b"forwarded", *(b"x-forwarded-" + name for name in (b"for", b"host", b"proto", b"port", b"prefix"))))
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)+", re.ASCII)
_LONGEST_PREFIX = 200

_NODE = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)", re.ASCII)
"""An address as proxies write it: with a port or without, and one of IPv6 in brackets or not."""

_PAIR = re.compile(r'[ \t]*([A-Za-z0-9_-]+)=(?:"((?:[^"\\]|\\.)*)"|([^ \t,;"]*))[ \t]*(;|,|\Z)')
"""A parameter of ``Forwarded``, and what follows it. Unquoted values may have more characters than the RFC allows."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What the nearest trusted proxy says; None where it says nothing."""

    client: str | None = None
    """The address of the client: the first one, seen from here, that is no trusted proxy."""
    scheme: str | None = None
    host: Authority | None = None
    port: int | None = None
    prefix: str | None = None
    """The path that the proxy has taken off, without a slash at its end."""


class ForwardedMiddleware:
    """Puts what trusted proxies say into the scope: client, scheme, ``Host``, and as ``root_path`` the prefix."""

    def __init__(self, app: Application, trusted: Iterable[str]) -> None:
        """``trusted`` are addresses and networks, or ``*`` for every peer. What is neither trusts nothing, and is logged."""
        self._app = app
        entries = set(trusted)
        everyone = "*" in entries
        networks = [network for entry in sorted(entries - {"*"}) if (network := _network(entry)) is not None]
        self.trusts: Callable[[str], bool] = lru_cache(1024)(lambda address: everyone or _is_in(networks, address))

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            self._read(scope)
        await self._app(scope, receive, send)

    def _read(self, scope: Scope) -> None:
        peer = scope.get("client")
        if peer is None:
            return
        if peer[0].startswith("::ffff:"):  # an address of IPv4 on a socket of IPv6
            peer = scope["client"] = (_address(peer[0]) or peer[0], peer[1])
        if not self.trusts(peer[0]):
            return
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name in _HEADERS:
                headers.setdefault(name, []).append(value.decode("latin-1"))
        if headers:
            self._apply(scope, read(headers, self.trusts))

    @staticmethod
    def _apply(scope: Scope, forwarded: Forwarded) -> None:
        scope[SCOPE_KEY] = forwarded
        if forwarded.client is not None:
            scope["client"] = (forwarded.client, 0)
        if forwarded.scheme is not None:
            secure = forwarded.scheme == "https"
            scope["scheme"] = {"http": "http", "websocket": "ws"}[scope["type"]] + ("s" if secure else "")
        if forwarded.host is not None:
            others = [header for header in scope["headers"] if header[0] != b"host"]
            scope["headers"] = [*others, (b"host", str(forwarded.host).encode("ascii"))]
        if forwarded.prefix is not None:
            scope["root_path"] = forwarded.prefix


def read(headers: Mapping[bytes, Sequence[str]], trusts: Callable[[str], bool]) -> Forwarded:
    """Return what the headers of a trusted proxy say, by their lower-case names.

    Where an ``X-Forwarded-`` header is there, that part of ``Forwarded`` does not count: proxies set the one or the other, and
    pass on what clients send of the rest.
    """
    said = {name.decode().removeprefix("x-forwarded-"): ",".join(values) for name, values in headers.items()}
    elements = forwarded_elements(said.get("forwarded", ""))
    ours = _of_trusted(elements, trusts)
    hops = _split(said["for"]) if "for" in said else [element.get("for", "") for element in elements]
    scheme = _last(said["proto"]) if "proto" in said else _nearest(ours, "proto")
    host = _last(said["host"]) if "host" in said else _nearest(ours, "host")
    port = _last(said.get("port", ""))
    return Forwarded(
        client=_client(hops, trusts),
        scheme=_SCHEMES.get(scheme.lower()),
        host=Authority.parse(host),
        port=int(port) if re.fullmatch("[0-9]{1,5}", port, re.ASCII) and 0 < int(port) < 65536 else None,
        prefix=canonical_prefix(_last(said.get("prefix", ""))),
    )


def forwarded_elements(text: str) -> list[dict[str, str]]:
    """Return the parameters of each element of a ``Forwarded`` header, by lower-case name; none of a malformed header."""
    elements: list[dict[str, str]] = [{}]
    place = 0
    if len(text) > _LONGEST:
        return []
    while place < len(text):
        match = _PAIR.match(text, place)
        if match is None or match[1].lower() in elements[-1]:
            return []
        quoted, plain = match[2], match[3]
        elements[-1][match[1].lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        place = match.end()
        if match[4] == ",":
            elements.append({})
    return elements if elements[-1] else []


def canonical_prefix(text: str) -> str | None:
    """Return the path prefix of a text without a slash at its end, None if it is none or has other than plain segments."""
    prefix = text.removesuffix("/")
    return prefix if len(prefix) <= _LONGEST_PREFIX and _PREFIX.fullmatch(prefix) else None


def _client(hops: Sequence[str], trusts: Callable[[str], bool]) -> str | None:
    """The last hop that is no trusted proxy. What is no address ends the search: the hop before it stands for its clients."""
    found = None
    for hop in reversed(hops[-_MOST_HOPS:]):
        address = _address(hop)
        if address is None:
            break
        found = address
        if not trusts(address):
            break
    return found


def _of_trusted(elements: Sequence[Mapping[str, str]], trusts: Callable[[str], bool]) -> list[Mapping[str, str]]:
    """The elements that trusted proxies have added, the nearest one's first."""
    ours = []
    for element in reversed(elements[-_MOST_HOPS:]):
        ours.append(element)
        address = _address(element.get("for", ""))
        if address is None or not trusts(address):
            break
    return ours


def _nearest(elements: Iterable[Mapping[str, str]], name: str) -> str:
    return next((element[name] for element in elements if name in element), "")


def _address(text: str) -> str | None:
    """The IP address of a node, without its port, None if it is none. One of IPv4 in the form of IPv6 becomes one of IPv4."""
    match = _NODE.fullmatch(text.strip().strip('"'))
    try:
        address = ip_address(match[1] or match[2] or match[3]) if match else None
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return None if address is None else str(address)


def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        _logger.warning("FORWARDED_ALLOW_IPS: %r is neither an address nor a network, so that it trusts no proxy", entry[:100])
        return None


def _is_in(networks: Sequence[Network], address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()] if len(text) <= _LONGEST else []


def _last(text: str) -> str:
    return text.rpartition(",")[2].strip()

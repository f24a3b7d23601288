"""Web origins, and the patterns of those that may connect.

An origin is a scheme, a host and a port (RFC 6454); browsers send it in lower case and without the scheme's default port.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Self

DEFAULT_PORTS = {"http": 80, "https": 443}

_LONGEST = 300
_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://"
    r"(\*\.)?(\[[0-9a-f:.]{2,45}\]|[a-z0-9_~-][a-z0-9._~-]*)"
    r"(?::([0-9]{1,5}|\*))?",
    re.ASCII,
)
"""Scheme, wildcard, host and port, in lower case."""

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_~-][a-z0-9._~-]*)(?::([0-9]{1,5}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Authority:
    """A host in lower case and a port, None where the scheme's default is meant, as in a ``Host`` header."""

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the authority that a text names, None if it names none."""
        match = _AUTHORITY.fullmatch(text.lower()) if len(text) <= _LONGEST and text.isascii() else None
        host = match and _host(match[1])
        if not match or not host:
            return None
        port = None if match[2] is None else int(match[2])
        return None if port is not None and not 0 < port < 65536 else cls(host, port)

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Origin:
    """A web origin. The port is None for a scheme without a default port and without one in the text."""

    scheme: str
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the origin that a text in any case is, None for ``null`` and for what is no origin."""
        match = _match(text)
        if match is None or match[2] or match[4] == "*":
            return None
        return cls(match[1], _host(match[3]) or match[3], _port(match[1], match[4]))


@dataclass(frozen=True, slots=True)
class _Pattern:
    """The origins of one entry."""

    scheme: str
    host: str
    subdomains: bool
    """The hosts below ``host`` are meant, not ``host`` itself."""
    port: int | None
    any_port: bool

    def matches(self, origin: Origin) -> bool:
        if origin.scheme != self.scheme or not (self.any_port or origin.port == self.port):
            return False
        if not self.subdomains:
            return origin.host == self.host
        return origin.host.endswith(f".{self.host}") and all(origin.host.removesuffix(f".{self.host}").split("."))


class AllowedOrigins:
    """The origins that a list of entries allows.

    An entry is an origin such as ``https://example.com``; ``:*`` in the place of its port is any port, ``*.`` before its host any
    host below it, at any depth. ``null`` is the origin of sandboxed pages and of files, and ``*`` alone any origin at all.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises ValueError with the first entry that is none."""
        entries = [canonical_entry(entry) for entry in entries]
        self.all = "*" in entries
        """True if every origin is allowed."""
        self._null = "null" in entries
        self._patterns: Sequence[_Pattern] = [_pattern(entry) for entry in entries if entry not in ("*", "null")]

    def matches(self, text: str) -> bool:
        """Whether an ``Origin`` header with this value is allowed."""
        if self.all or (self._null and text == "null"):
            return True
        origin = Origin.parse(text)
        return origin is not None and any(pattern.matches(origin) for pattern in self._patterns)


def canonical_entry(entry: str) -> str:
    """Return an entry in lower case, without a slash at its end and without the scheme's default port.

    Raises ValueError, which names the entry, if it is no entry of ``AllowedOrigins``.
    """
    if entry.lower() in ("*", "null"):
        return entry.lower()
    match = _match(entry.removesuffix("/"))
    if match is None:
        raise ValueError(f"{_shown(entry)} is not an origin such as https://example.com{_reason(entry)}")
    scheme, wildcard, host, port = match.groups()
    if port != "*":
        number = _port(scheme, port)
        port = None if number == DEFAULT_PORTS.get(scheme) else number
    return f"{scheme}://{wildcard or ''}{_host(host)}{'' if port is None else f':{port}'}"


def _pattern(entry: str) -> _Pattern:
    match = _match(entry)
    assert match is not None
    scheme, wildcard, host, port = match.groups()
    return _Pattern(scheme, host, bool(wildcard), None if port == "*" else _port(scheme, port), port == "*")


def _match(text: str) -> re.Match[str] | None:
    """The parts of an origin or an entry with a host and a port that there can be."""
    if len(text) > _LONGEST or not text.isascii():  # before lower(), which makes ASCII of a Kelvin sign
        return None
    match = _ORIGIN.fullmatch(text.lower())
    if match is None or _host(match[3]) is None or (match[2] and _is_address(match[3])):
        return None
    if match[4] not in (None, "*") and not 0 < int(match[4]) < 65536:
        return None
    return match


def _port(scheme: str, port: str | None) -> int | None:
    return DEFAULT_PORTS.get(scheme) if port is None else int(port)


def _host(host: str) -> str | None:
    """The host, None if its labels or its address cannot be. Addresses of IPv6 are compressed as browsers do it."""
    try:
        if host.startswith("["):
            return f"[{IPv6Address(host[1:-1])}]"
        if _is_address(host):
            return str(IPv4Address(host))
    except ValueError:
        return None
    return host if all(host.removesuffix(".").split(".")) else None


def _is_address(host: str) -> bool:
    return host.startswith("[") or host.rstrip(".").rpartition(".")[2].isdigit()


def _shown(entry: str) -> str:
    return repr(entry if len(entry) <= 100 else f"{entry[:100]}…")


def _reason(entry: str) -> str:
    """What the entry lacks, or has too much of, if that is plain to see."""
    if "://" not in entry:
        return ": the scheme is missing"
    if not entry.isascii():
        return ": it is in ASCII, and a host in other letters in its xn-- form"
    rest = entry.partition("://")[2].rstrip("/")
    if "@" in rest or any(mark in rest for mark in "/?#"):
        return ": it has a scheme, a host and perhaps a port, and nothing else"
    if "*" in rest.removeprefix("*.").removesuffix(":*"):
        return ": * stands for a port, or for what comes before a domain, as in https://*.example.com"
    return ": it has a host, and a port from 1 to 65535 or none"

"""Which pages may connect: the origins of the settings, and the gateway's own behind any proxy."""

import logging
from typing import Any

import pytest

from app.http.origins import Origins
from app.origin import Authority
from app.quiet_log import MOST_KINDS, OnceAMinute
from app.realtime.wire.forwarded import SCOPE_KEY, Forwarded

OWN = "https://fx.example.com:8443"


def scope(origin: str | None, host: str | None = None, forwarded: Forwarded | None = None, **headers: str) -> dict[str, Any]:
    """A request of a page."""
    named = {"origin": origin, "host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    said = {} if forwarded is None else {SCOPE_KEY: forwarded}
    values = [(name.encode(), value.encode("latin-1")) for name, value in named.items() if value is not None]
    return {"client": ("192.0.2.1", 1), "headers": values, **said}


@pytest.mark.parametrize(
    "asked",
    [
        scope(None),
        scope(OWN, "fx.example.com:8443"),
        scope(OWN, "FX.Example.com:8443"),
        scope("https://fx.example.com", "fx.example.com:443"),
        scope("http://fx.example.com", "fx.example.com:80"),
        scope("https://fx.example.com", "fx.example.com"),
        scope(OWN, "fx.example.com", Forwarded(client="192.0.2.1")),  # the proxy has left the port out
        scope(OWN, "fx.example.com", Forwarded(port=8443)),
        scope(OWN, "fx.example.com:443", Forwarded(port=8443)),
        scope("https://fx.example.com", "fx.example.com", Forwarded(port=80)),  # of an inner proxy, which does not end TLS
        scope(OWN, None, sec_fetch_site="same-origin"),
        scope("http://[::1]:5001", "[0:0::1]:5001"),
    ],
)
def test_the_gateways_own_pages_may_connect(asked: dict[str, Any]) -> None:
    assert Origins([]).allows(asked)


@pytest.mark.parametrize(
    "asked",
    [
        scope(OWN),
        scope(OWN, ""),
        scope(OWN, "fx.example.com"),
        scope(OWN, "fx.example.com:8444"),
        scope(OWN, "fx.example.com", Forwarded(port=8444)),
        scope(OWN, "fx.example.com", Forwarded(host=Authority("fx.example.com"))),
        scope(OWN, "fx.example.com.evil.test:8443"),
        scope("https://evil.test", "fx.example.com", Forwarded(client="192.0.2.1")),
        scope("null", "null"),
        scope("capacitor://fx.example.com", "fx.example.com"),
        scope("https://user@fx.example.com:8443", "fx.example.com:8443"),
        scope(OWN, None, sec_fetch_site="same-site"),
        scope(OWN, None, sec_fetch_site="cross-site"),
    ],
)
def test_others_may_not(asked: dict[str, Any]) -> None:
    assert not Origins([]).allows(asked)


def test_a_request_with_two_origins_has_none_that_is_allowed() -> None:
    asked = scope("https://good.example", "fx.example.com")
    asked["headers"].append((b"origin", b"https://evil.test"))
    assert not Origins(["https://good.example"]).allows(asked)


def test_a_refused_origin_is_logged_once_a_minute_with_the_setting_that_would_allow_it(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    caplog.handler.addFilter(once := OnceAMinute(clock=lambda: now[0]))
    origins = Origins(["https://good.example"])
    try:
        with caplog.at_level(logging.WARNING):
            for _ in range(5):
                origins.allows(scope("https://evil.test", "fx.example.com"))
                origins.allows(scope("https://other.test"))
            assert [record.getMessage() for record in caplog.records] == [
                f"the origin {at} is refused at {host}; to allow its pages, add it to CORS_ALLOWED_ORIGINS (from 192.0.2.1)"
                for at, host in (("https://evil.test", "fx.example.com"), ("https://other.test", "a request without a host"))
            ]
            now[0] = 61
            origins.allows(scope("https://evil.test"))
            assert "and 4 more in 60 s" in caplog.records[-1].getMessage()
            before = len(caplog.records)
            for number in range(3 * MOST_KINDS):
                origins.allows(scope(f"https://{number}.test\x1b[31m"))
            assert len(caplog.records) - before <= MOST_KINDS
            assert "\x1b" not in caplog.text
    finally:
        caplog.handler.removeFilter(once)

"""Web origins, and which of them an entry allows."""

import pytest

from app.config import load_settings
from app.errors import ConfigurationError
from app.origin import AllowedOrigins, Authority, canonical_entry


@pytest.mark.parametrize(
    ("entry", "allowed", "refused"),
    [
        ("https://example.com", ["https://example.com", "https://example.com:443"], ["http://example.com", "https://example.com:8443"]),
        ("HTTPS://Example.COM:443/", ["https://example.com", "HTTPS://EXAMPLE.COM"], ["https://example.com/", "https://example.com."]),
        ("http://localhost:*", ["http://localhost", "http://localhost:3"], ["http://localhost:٣", "http://localhost:70000"]),
        ("http://localhost:*", [], ["http://localhost:", "http://localhost:0", "http://localhost:3\n", "http://localhost:³"]),
        (
            "https://*.example.com",
            ["https://a.example.com", "https://a.b-c.example.com"],
            ["https://example.com", "https://.example.com", "https://a..example.com", "http://a.example.com"],
        ),
        (
            "https://*.example.com",
            [],
            ["https://example.com.evil.test", "https://a.example.com.evil.test", "https://evilexample.com", "https://a.example.com:8443"],
        ),
        ("https://*.example.com:*", ["https://a.example.com:8443"], ["https://example.com:8443"]),
        ("http://[::0:1]:5001", ["http://[::1]:5001"], ["http://[::1]", "http://[::2]:5001", "http://[::1"]),
        ("http://127.0.0.1", ["http://127.0.0.1:80"], ["http://127.0.0.1.evil.test", "http://127.0.0.2"]),
        ("capacitor://localhost", ["capacitor://localhost"], ["http://localhost", "capacitor://localhost:1"]),
        ("https://kelvin.example", [], ["https://\u212aelvin.example", "https://user@kelvin.example", "https://kelvin.example/x"]),
        ("null", ["null"], ["NULL", "", "https://null", "null, null"]),
        ("*", ["null", "https://anything.example"], []),
    ],
)  # fmt: skip
def test_an_entry_allows_what_it_means(entry: str, allowed: list[str], refused: list[str]) -> None:
    origins = AllowedOrigins([entry])
    assert [origin for origin in allowed if not origins.matches(origin)] == []
    assert [origin for origin in refused if origins.matches(origin)] == []


@pytest.mark.parametrize(
    "entry",
    [
        "example.com", "*.example.com", "https://", "https://*", "https://a*.example.com", "https://*.*.example.com", "https://a/b",
        "https://a?b", "https://user@a", "https://a:0", "https://a:65536", "https://a:٣", "https://bücher.example", "https://1.2.3",
        "https://*.1.2.3.4", "https://[::1", "https://a..b", "https://a b", "['https://a']", "//a", "https://" + "a" * 400,
    ],
)  # fmt: skip
def test_what_is_no_entry_is_refused_at_the_start_in_one_line(entry: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_settings(cors_allowed_origins=f"https://good.example,{entry}")
    said = str(refusal.value)
    assert said.startswith("CORS_ALLOWED_ORIGINS: ")
    assert "\n" not in said
    assert len(said) < 300
    assert entry[:90] in said


def test_entries_are_kept_as_browsers_write_them() -> None:
    entries = "HTTPS://Desk.Example.com/,http://a:80,https://*.B.example:443/,https://c:0443,null,http://[::0:1]:*"
    assert load_settings(cors_allowed_origins=entries).cors_allowed_origins == (
        "https://desk.example.com", "http://a", "https://*.b.example", "https://c", "null", "http://[::1]:*",
    )  # fmt: skip
    assert canonical_entry("https://example.com:*/") == "https://example.com:*"


def test_credentials_need_origins_with_names() -> None:
    assert load_settings(cors_allow_credentials=True).cors_allow_credentials
    with pytest.raises(
        ConfigurationError, match=r"\ACORS_ALLOW_CREDENTIALS: CORS_ALLOWED_ORIGINS must name the origins, not \*\Z"
    ):
        load_settings(cors_allow_credentials=True, cors_allowed_origins="https://a.example,*")


def test_an_authority_is_a_host_and_perhaps_a_port() -> None:
    assert Authority.parse("FX.Example.com:8443") == Authority("fx.example.com", 8443)
    assert Authority.parse("[::0:1]") == Authority("[::1]")
    assert str(Authority("[::1]", 5001)) == "[::1]:5001"
    wrong = ["", "a:", "a:0", "a:65536", "a:٣", "a/b", "a b", "a,b", "[::1", "1.2.3", "a\r\nX: y", "user@a", "a" * 301]
    assert [text for text in wrong if Authority.parse(text)] == []

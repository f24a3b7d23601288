import logging

import httpx
import pytest

from app.errors import SourceError
from app.providers.http import Interrupted, ask_persistently, interruptions, open_client, presentable


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.backoff._SHORTEST_LIMIT", 0.01)
    monkeypatch.setattr("app.backoff._LONGEST_LIMIT", 0.02)


class Server:
    """Fails ``failures`` times, then answers. ``asked`` counts the attempts."""

    def __init__(self, failures: int, wait: float = 0.0) -> None:
        self.failures = failures
        self.wait = wait
        self.asked = 0

    async def ask(self) -> str:
        """Return an answer. Raises Interrupted."""
        self.asked += 1
        if self.asked <= self.failures:
            raise Interrupted("status 503", self.wait)
        return "answer"


async def test_a_failure_that_may_pass_is_retried(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    server = Server(failures=4, wait=0.01)
    assert await ask_persistently("Acme", server.ask) == "answer"
    assert server.asked == 5
    assert caplog.text.count("Acme does not answer: status 503; retrying in 0.0 s") == 4


async def test_five_failed_attempts_are_an_error() -> None:
    server = Server(failures=9)
    with pytest.raises(SourceError, match=r"^Acme does not answer in 5 attempts: status 503$"):
        await ask_persistently("Acme", server.ask)
    assert server.asked == 5


async def test_an_error_that_does_not_pass_is_not_retried() -> None:
    with pytest.raises(SourceError, match="for good"):
        await ask_persistently("Acme", _refuse)


async def _refuse() -> None:
    raise SourceError("for good")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectTimeout("x"), "cannot connect within 10 s"),
        (httpx.ReadTimeout("x"), "no answer in time"),
        (TimeoutError(), "no answer in time"),
        (httpx.ConnectError("refused"), "cannot connect: refused"),
        (httpx.ReadError(""), "the connection broke off: ReadError"),
    ],
)
def test_failures_of_a_connection_may_pass(error: Exception, reason: str) -> None:
    with pytest.raises(Interrupted) as interrupted, interruptions(presentable):
        raise error
    assert str(interrupted.value) == reason


def test_text_from_outside_is_shortened_to_a_line() -> None:
    assert presentable("two\nlines\t here") == "two lines here"
    assert len(presentable("x" * 1000)) == 200


async def test_a_proxy_that_cannot_be_used_is_an_error_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks9://user:secret@127.0.0.1:1")
    with pytest.raises(SourceError, match="proxies or certificates") as failure:
        open_client(1.0)
    assert failure.value.__suppress_context__
    assert "secret" not in str(failure.value)

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from app.alerts.notification import Notifier, pauses
from app.errors import ConfigurationError
from app.market.alert import Alert, Severity
from tests.alerts.web_hook import web_hook
from tests.waiting import wait_until

_ALERT = Alert(
    "price_alert", ("EUR_USD",), 1.2, 1.1, Severity.WARNING, "EUR_USD rose above 1.1: 1.2", datetime(2026, 3, 2, 9, tzinfo=UTC)
)
_SECRET = "hunter2-do-not-tell"


def _numbered(number: int) -> Alert:
    return replace(_ALERT, message=str(number))


async def test_an_alert_is_sent_in_words() -> None:
    async with web_hook() as hook:
        async with Notifier({Severity.INFO: [hook.url()]}) as notifier:
            notifier.notify(_ALERT)
            notifier.notify(replace(_ALERT, pairs=("EUR_USD", "GBP_USD"), severity=Severity.CRITICAL))
            await wait_until(lambda: notifier.sent == 2, "both are sent")
        first, second = hook.messages
        assert first["title"] == "Warning: EUR_USD"
        assert first["message"] == "EUR_USD rose above 1.1: 1.2\n2026-03-02T09:00:00.000000Z"
        assert first["type"] == "warning"
        assert (second["title"], second["type"]) == ("Critical: EUR_USD, GBP_USD", "failure")
        assert (notifier.sent, notifier.failed, notifier.dropped) == (2, 0, 0)


async def test_an_address_gets_its_severity_and_graver_ones() -> None:
    async with web_hook() as hook:
        urls = {
            Severity.CRITICAL: [hook.url("critical"), hook.url("twice")],
            Severity.WARNING: [hook.url("warning"), hook.url("twice")],
            Severity.INFO: [hook.url("info")],
        }
        async with Notifier(urls) as notifier:
            notifier.notify(replace(_ALERT, severity=Severity.INFO))
            notifier.notify(replace(_ALERT, severity=Severity.WARNING))
            notifier.notify(replace(_ALERT, severity=Severity.CRITICAL))
        paths = [line.split()[1] for line in hook.requests]
        assert {path: paths.count(path) for path in paths} == {"/info": 3, "/warning": 2, "/twice": 2, "/critical": 1}
        assert notifier.sent == 8


async def test_without_addresses_nothing_is_sent() -> None:
    async with Notifier({}) as notifier:
        notifier.notify(_ALERT)
    assert (notifier.sent, notifier.failed, notifier.dropped) == (0, 0, 0)


async def test_what_fails_is_tried_again() -> None:
    async with web_hook() as hook, Notifier({Severity.INFO: [hook.url()]}, first_pause=0.01) as notifier:
        hook.answers = [500, 429, 503]
        notifier.notify(_ALERT)
        await wait_until(lambda: notifier.sent == 1, "the fourth attempt arrives")
        assert len(hook.requests) == 4
        assert notifier.failed == 0


async def test_what_fails_too_often_is_given_up_and_the_next_is_sent() -> None:
    async with web_hook() as hook, Notifier({Severity.INFO: [hook.url()]}, retries=2, first_pause=0.01) as notifier:
        hook.answers = [500, 500, 500]
        notifier.notify(_numbered(1))
        notifier.notify(_numbered(2))
        await wait_until(lambda: notifier.sent == 1, "the second is sent")
        assert notifier.failed == 1
        assert hook.texts == ["2"]


async def test_an_alert_that_cannot_be_worded_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with web_hook() as hook, Notifier({Severity.INFO: [hook.url()]}, retries=0) as notifier:
        notifier.notify(replace(_ALERT, pairs=(None,)))  # type: ignore[arg-type]
        notifier.notify(_ALERT)
        await wait_until(lambda: notifier.sent == 1, "the next is sent")
        assert notifier.failed == 1
    assert "sending to info address 1 failed: TypeError" in caplog.text


async def test_nobody_there_is_a_failure() -> None:
    async with web_hook() as hook:
        port = hook.port
    async with Notifier({Severity.INFO: [f"json://127.0.0.1:{port}/"]}, retries=1, first_pause=0.01) as notifier:
        notifier.notify(_ALERT)
        await wait_until(lambda: notifier.failed == 1, "it is given up")


def test_pauses_double_up_to_half_a_minute() -> None:
    assert pauses(7, 1) == [1, 2, 4, 8, 16, 30, 30]
    assert pauses(2, 0.05) == [0.05, 0.1]
    assert pauses(0, 1) == []


async def test_between_attempts_there_are_the_pauses() -> None:
    async with web_hook() as hook, Notifier({Severity.INFO: [hook.url()]}, retries=3, first_pause=0.05) as notifier:
        hook.answers = [500] * 4
        notifier.notify(_ALERT)
        await wait_until(lambda: notifier.failed == 1, "it is given up")
        waited = [later - earlier for earlier, later in pairwise(hook.asked_at)]
        # The clock may be off by its own resolution.
        assert all(seconds > pause * 0.95 for seconds, pause in zip(waited, [0.05, 0.1, 0.2], strict=True))


async def test_a_slow_address_holds_up_neither_the_caller_nor_the_others() -> None:
    async with web_hook() as slow, web_hook() as quick:
        slow.open.clear()
        async with Notifier({Severity.INFO: [slow.url(), quick.url()]}, drain=0.1) as notifier:
            for number in range(500):  # a wait for one answer of the slow address would never end
                notifier.notify(_numbered(number))
            await wait_until(lambda: len(slow.requests) == 1, "the slow one is asked")
            await wait_until(lambda: len(quick.messages) >= 20, "the quick one gets what is its", timeout=30)
            assert quick.texts[:20] == [str(number) for number in range(20)]
            assert len(slow.requests) == 1


async def test_an_attempt_that_takes_too_long_is_a_failure() -> None:
    async with web_hook() as hook, Notifier({Severity.INFO: [hook.url()]}, retries=3, first_pause=0.01, timeout=0.5) as notifier:
        hook.open.clear()
        notifier.notify(_numbered(1))
        await wait_until(lambda: notifier.failed == 1, "the attempt is given up")
        hook.open.set()
        await wait_until(lambda: hook.texts == ["1"], "it arrives all the same")
        notifier.notify(_numbered(2))
        await wait_until(lambda: notifier.sent == 1, "the next is sent")


async def test_a_queue_that_is_full_drops_its_oldest(caplog: pytest.LogCaptureFixture) -> None:
    async with web_hook() as hook, Notifier({Severity.INFO: [hook.url()]}, capacity=3) as notifier:
        hook.open.clear()
        notifier.notify(_numbered(0))
        await wait_until(lambda: len(hook.requests) == 1, "the first is on its way")
        for number in range(1, 10):
            notifier.notify(_numbered(number))
        assert notifier.dropped == 6
        hook.open.set()
        await wait_until(lambda: notifier.sent == 4, "the rest is sent")
        assert hook.texts == ["0", "7", "8", "9"]
        told = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
        assert told == ["the queue of info address 1 is full: the oldest alerts are dropped"]


async def test_what_waits_is_sent_on_leaving() -> None:
    async with web_hook() as hook:
        async with Notifier({Severity.INFO: [hook.url()]}, drain=30) as notifier:
            for number in range(5):
                notifier.notify(_numbered(number))
        assert hook.texts == ["0", "1", "2", "3", "4"]
        notifier.notify(_ALERT)
        assert (notifier.sent, notifier.failed, notifier.dropped) == (5, 0, 1)


async def test_leaving_does_not_wait_for_an_address_that_hangs() -> None:
    async with web_hook() as hook:
        hook.open.clear()
        async with asyncio.timeout(20):
            async with Notifier({Severity.INFO: [hook.url()]}, drain=0.1) as notifier:
                for number in range(3):
                    notifier.notify(_numbered(number))
                await wait_until(lambda: len(hook.requests) == 1, "the first is on its way")
        assert (notifier.sent, notifier.failed, notifier.dropped) == (0, 0, 3)


async def test_an_error_inside_is_raised_as_it_is_and_what_waits_is_sent() -> None:
    async with web_hook() as hook:
        notifier = Notifier({Severity.INFO: [hook.url()]})

        async def fail() -> None:
            async with notifier:
                notifier.notify(_ALERT)
                raise LookupError("of the caller")

        with pytest.raises(LookupError, match="of the caller"):
            await fail()
        assert notifier.sent == 1


async def test_a_notifier_that_is_cancelled_sends_what_waits() -> None:
    async with web_hook() as hook:
        notifier = Notifier({Severity.INFO: [hook.url()]})

        async def until_cancelled() -> None:
            async with notifier:
                notifier.notify(_ALERT)
                await asyncio.Event().wait()

        task = asyncio.create_task(until_cancelled())
        await wait_until(lambda: len(hook.requests) == 1, "the alert is on its way")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (notifier.sent, notifier.dropped) == (1, 0)


# ---------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    "url",
    [f"nonsense://{_SECRET}", _SECRET, "", f"slack://{_SECRET}", f"mailto://{_SECRET}", f"tgram://{_SECRET}/1", "json://"],
)
@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.CRITICAL])
def test_a_url_that_cannot_be_used_is_named_by_its_place(
    url: str, severity: Severity, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(1)
    with pytest.raises(ConfigurationError) as caught:
        Notifier({severity: ["json://127.0.0.1/", url]})
    assert str(caught.value) == f"notification URL 2 for severity {severity} cannot be used by apprise"
    # Not even where the whole chain of errors is shown
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    out, err = capfd.readouterr()
    assert _SECRET not in caplog.text + out + err


async def test_no_secret_of_a_url_gets_into_a_log(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("apprise", "urllib3", "requests"):
        logging.getLogger(name).setLevel(1)
    caplog.set_level(1)
    async with web_hook() as hook:
        hook.answers = [500]
        url = f"json://{_SECRET}:{_SECRET}@127.0.0.1:{hook.port}/{_SECRET}?-key={_SECRET}&+X-Key={_SECRET}"
        gone = f"json://127.0.0.1:1/{_SECRET}"
        async with Notifier({Severity.INFO: [url], Severity.WARNING: [gone]}, retries=1, first_pause=0.01) as notifier:
            notifier.notify(_ALERT)
            await wait_until(lambda: notifier.sent == 1 and notifier.failed == 1, "one is sent, the other given up")
            shown = repr(notifier) + "".join(map(repr, asyncio.all_tasks()))
    assert _SECRET in hook.requests[0]
    out, err = capfd.readouterr()
    assert "could not be sent to warning address 1 in 2 attempts" in caplog.text
    assert _SECRET not in caplog.text + shown + out + err


def test_a_queue_without_room_is_an_error() -> None:
    with pytest.raises(ValueError, match="the capacity of a queue must be at least 1"):
        Notifier({}, capacity=0)

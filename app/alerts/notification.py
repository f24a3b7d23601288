"""Alerts sent to people: by e-mail, to chats, to web hooks, over whatever service an apprise URL names."""

import asyncio
import logging
import warnings
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import Self

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType

from app.alerts.alert import Alert, Severity
from app.errors import ConfigurationError
from app.market.clock import rfc3339

_logger = logging.getLogger(__name__)

_TYPES = {Severity.INFO: NotifyType.INFO, Severity.WARNING: NotifyType.WARNING, Severity.CRITICAL: NotifyType.FAILURE}
_LONGEST_PAUSE = 30.0

_TELLTALES = ("apprise", "oauthlib", "pika", "requests", "requests_oauthlib", "slixmpp", "urllib3")
"""The loggers that addresses and what is sent to them could leak through. apprise's own writes whole URLs at debug level."""


class Notifier:
    """Sends each alert to the addresses that want its severity, in the background, for as long as it is open.

    ``urls`` are apprise URLs by the least severity that is sent to them; one listed for several gets each alert once. Every
    address has a queue and a thread of its own, so one that is slow or down holds up no other. What cannot be sent is tried
    ``retries`` times more, after ``first_pause`` seconds and twice as long each time, up to 30 s. An attempt that takes
    longer than ``timeout`` seconds counts as failed; it may yet arrive, and then twice. A queue holds ``capacity`` alerts,
    the newest ones. On leaving, what waits has ``drain`` seconds to be sent.

    ``sent``, ``failed`` and ``dropped`` count alerts, once for each address: those that arrived, those given up, and those that
    there was no room or no time for.

    The URLs are secrets: no log line, error or representation of this class shows any. Raises ConfigurationError for one that
    apprise cannot use, and ValueError for a capacity below 1, which would be no bound.
    """

    def __init__(
        self,
        urls: Mapping[Severity, Sequence[str]],
        *,
        retries: int = 3,
        first_pause: float = 1.0,
        timeout: float = 30.0,
        capacity: int = 1000,
        drain: float = 5.0,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"a queue has room for one alert at least, not {capacity}")
        self.sent = 0
        self.failed = 0
        self.dropped = 0
        self._pauses = pauses(retries, first_pause)
        self._timeout = timeout
        self._drain = drain
        self._closed = False
        self._addresses = _addresses(urls, capacity)
        self._running: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = self._run()
        await self._running.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._running is not None
        await self._running.__aexit__(kind, error, traceback)

    def notify(self, alert: Alert) -> None:
        """Have an alert sent to everyone who wants it. Returns at once; where a queue is full, its oldest makes room."""
        for address in self._addresses:
            if alert.severity.rank < address.least.rank:
                continue
            if self._closed:
                self.dropped += 1
                continue
            if address.waiting.full():
                address.waiting.get_nowait()
                address.waiting.task_done()
                self.dropped += 1
                if not address.overflowing:
                    address.overflowing = True
                    _logger.warning("more alerts than %s takes: the oldest that wait are dropped", address)
            address.waiting.put_nowait(alert)

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        failure: Exception | None = None
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(self._send_to(address), name=f"alerts to {address}") for address in self._addresses]
            try:
                yield
            except Exception as error:
                # Raised below: out of a task group it would come wrapped in a group.
                failure = error
            finally:
                await self._finish(workers)
        if failure is not None:
            raise failure

    async def _finish(self, workers: Sequence[asyncio.Task[None]]) -> None:
        """Give what waits its time, then end everything."""
        self._closed = True
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._drain):
                    for address in self._addresses:
                        await address.waiting.join()
        finally:
            for worker in workers:
                worker.cancel()
            for address in self._addresses:
                self.dropped += address.waiting.qsize()
                # Waiting for a thread that hangs would hang here too.
                address.thread.shutdown(wait=False, cancel_futures=True)
            _logger.info("%d alerts sent, %d given up, %d dropped", self.sent, self.failed, self.dropped)

    async def _send_to(self, address: "_Address") -> None:
        while True:
            alert = await address.waiting.get()
            try:
                if await self._send(address, alert):
                    self.sent += 1
                    address.overflowing = False
                else:
                    self.failed += 1
                    _logger.warning("an alert could not be sent to %s in %d attempts", address, len(self._pauses) + 1)
            except asyncio.CancelledError:
                self.dropped += 1
                raise
            finally:
                address.waiting.task_done()

    async def _send(self, address: "_Address", alert: Alert) -> bool:
        if await self._attempt(address, alert):
            return True
        for pause in self._pauses:
            await asyncio.sleep(pause)
            if await self._attempt(address, alert):
                return True
        return False

    async def _attempt(self, address: "_Address", alert: Alert) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                return await asyncio.get_running_loop().run_in_executor(address.thread, address.send, alert)
        return False


def pauses(retries: int, first: float) -> list[float]:
    """The seconds before each retry: ``first``, then twice as long each time, up to 30 s."""
    return [min(first * 2**number, _LONGEST_PAUSE) for number in range(retries)]


class _Address:
    """One address, and the alerts that wait for it. As text it is the place of its URL in the settings."""

    def __init__(self, service: Apprise, least: Severity, number: int, capacity: int) -> None:
        self.least = least
        self.waiting: asyncio.Queue[Alert] = asyncio.Queue(capacity)
        self.overflowing = False
        # One that hangs would take threads from everybody else in the event loop's own pool.
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"alerts-{least}-{number}")
        self._service = service
        self._number = number

    def __str__(self) -> str:
        return f"{self.least} address {self._number}"

    def send(self, alert: Alert) -> bool:
        """Send an alert, now and here; true where it arrived."""
        try:
            result = self._service.notify(
                title=f"{alert.severity.capitalize()}: {', '.join(alert.pairs)}",
                body=f"{alert.message}\n{rfc3339(alert.time)}",
                notify_type=_TYPES[alert.severity],
                body_format=NotifyFormat.TEXT,
            )
        except Exception as error:
            # Its text may hold the URL.
            _logger.warning("sending to %s failed: %s", self, type(error).__name__)
            return False
        return bool(result)


def _addresses(urls: Mapping[Severity, Sequence[str]], capacity: int) -> list[_Address]:
    """An address for each URL, under the mildest severity that it is listed for."""
    for name in _TELLTALES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    listed: dict[str, tuple[Severity, int]] = {}
    for severity in Severity:
        for number, url in enumerate(urls.get(severity, ()), start=1):
            listed.setdefault(url, (severity, number))
    addresses = []
    for url, (severity, number) in listed.items():
        service = _service(url)
        if service is None:
            raise ConfigurationError(f"notification URL {number} for severity {severity} is none that apprise can use")
        addresses.append(_Address(service, severity, number, capacity))
    return addresses


def _service(url: str) -> Apprise | None:
    """What sends to a URL; None for one that cannot be used."""
    # Without a time limit of its own it sends in the thread that calls it.
    asset = AppriseAsset(secure_logging=True, service_timeout=0)
    with warnings.catch_warnings():
        # The first use loads every kind of service, and some use what the standard library is about to lose.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            service = Apprise.instantiate(url, asset=asset)
        except Exception:
            # Its text, and its traceback where one is kept, may hold the URL.
            return None
    return None if service is None else Apprise(service, asset=asset)

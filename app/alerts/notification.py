"""Notifications of alerts by e-mail, chat or web hook: any service that apprise supports."""

import asyncio
import logging
import warnings
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import Self

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType

from app.errors import ConfigurationError
from app.market.alert import Alert, Severity
from app.market.clock import rfc3339

_logger = logging.getLogger(__name__)

_TYPES = {Severity.INFO: NotifyType.INFO, Severity.WARNING: NotifyType.WARNING, Severity.CRITICAL: NotifyType.FAILURE}
_LONGEST_PAUSE = 30.0

_TELLTALES = ("apprise", "oauthlib", "pika", "requests", "requests_oauthlib", "slixmpp", "urllib3")
"""Loggers that could leak URLs, which contain secrets, or messages. apprise's own logs whole URLs at debug level."""


class Notifier:
    """Sends alerts to URLs in the background while it is open.

    ``urls`` are apprise URLs by the lowest severity that is sent to them; one listed under several gets each alert once. Every
    URL has a queue and a thread of its own, so that a slow one does not delay others. A failed delivery is retried
    ``retries`` times, after ``first_pause`` seconds, doubling up to 30. An attempt that takes longer than ``timeout`` seconds
    counts as failed; it may still arrive, and then twice. A queue keeps the newest ``capacity`` alerts. On leaving, the queues
    are drained for up to ``drain`` seconds.

    ``sent``, ``failed`` and ``dropped`` count alerts, once for each URL: those delivered, those whose retries all failed, and
    those dropped from a full queue or on leaving.

    The URLs contain secrets: no log line, error or representation of this class shows any. Raises ConfigurationError for a
    URL that apprise cannot use, and ValueError for a capacity below 1.
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
            raise ValueError(f"the capacity of a queue must be at least 1, not {capacity}")
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
        """Queue an alert for every URL that takes its severity. Returns at once; a full queue drops its oldest alert."""
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
                    _logger.warning("the queue of %s is full: the oldest alerts are dropped", address)
            address.waiting.put_nowait(alert)

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        failure: Exception | None = None
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(self._send_to(address), name=f"alerts to {address}") for address in self._addresses]
            try:
                yield
            except Exception as error:
                # Raised outside the task group, which would wrap it in an ExceptionGroup.
                failure = error
            finally:
                await self._finish(workers)
        if failure is not None:
            raise failure

    async def _finish(self, workers: Sequence[asyncio.Task[None]]) -> None:
        """Drain the queues for a while, then stop the workers."""
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
                # Waiting for a thread that hangs would hang, too.
                address.thread.shutdown(wait=False, cancel_futures=True)
            _logger.info("%d alerts sent, %d failed, %d dropped", self.sent, self.failed, self.dropped)

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
    """Return the seconds before each retry: ``first``, doubling each time up to 30."""
    return [min(first * 2**number, _LONGEST_PAUSE) for number in range(retries)]


class _Address:
    """A URL with its queue and thread. Its name in logs is its place in the settings, as the URL contains secrets."""

    def __init__(self, service: Apprise, least: Severity, number: int, capacity: int) -> None:
        self.least = least
        self.waiting: asyncio.Queue[Alert] = asyncio.Queue(capacity)
        self.overflowing = False
        # A thread of its own, so that one that hangs does not exhaust the event loop's pool.
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"alerts-{least}-{number}")
        self._service = service
        self._number = number

    def __str__(self) -> str:
        return f"{self.least} address {self._number}"

    def send(self, alert: Alert) -> bool:
        """Send an alert, blocking; return whether it was delivered."""
        try:
            result = self._service.notify(
                title=f"{alert.severity.capitalize()}: {', '.join(alert.pairs)}",
                body=f"{alert.message}\n{rfc3339(alert.time)}",
                notify_type=_TYPES[alert.severity],
                body_format=NotifyFormat.TEXT,
            )
        except Exception as error:
            # The text of the error may contain the URL.
            _logger.warning("sending to %s failed: %s", self, type(error).__name__)
            return False
        return bool(result)


def _addresses(urls: Mapping[Severity, Sequence[str]], capacity: int) -> list[_Address]:
    """Return an address for each URL, with the lowest severity that it is listed under."""
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
            raise ConfigurationError(f"notification URL {number} for severity {severity} cannot be used by apprise")
        addresses.append(_Address(service, severity, number, capacity))
    return addresses


def _service(url: str) -> Apprise | None:
    """Return the service of a URL, None for one that cannot be used."""
    # Without a timeout of its own, apprise sends in the calling thread.
    asset = AppriseAsset(secure_logging=True, service_timeout=0)
    with warnings.catch_warnings():
        # The first use imports every service, and some of them use deprecated modules of the standard library.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            service = Apprise.instantiate(url, asset=asset)
        except Exception:
            # The error and its traceback may contain the URL.
            return None
    return None if service is None else Apprise(service, asset=asset)

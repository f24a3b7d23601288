"""A web hook that alerts are sent to."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.tcp_server import tcp_server
from tests.waiting import wait_until


class WebHook:
    """A web hook on a port of its own; it answers with the statuses in ``answers`` one by one, then with 200."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.messages: list[dict[str, str]] = []
        self.requests: list[str] = []
        self.asked_at: list[float] = []
        self.open = asyncio.Event()
        self.open.set()
        self.port = 0
        self.answering = 0

    def url(self, path: str = "hook") -> str:
        # The time to wait for an answer is apprise's own otherwise, a few seconds.
        return f"json://127.0.0.1:{self.port}/{path}?rto=60"

    @property
    def texts(self) -> list[str]:
        """The first line of each message."""
        return [message["message"].splitlines()[0] for message in self.messages]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.answering += 1
        try:
            await self._answer(reader, writer)
        finally:
            self.answering -= 1

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(line for line in head.splitlines() if line.lower().startswith("content-length:")).split(":")[1]
        body = await reader.readexactly(int(length))
        self.requests.append(head.split("\r\n")[0])
        self.asked_at.append(asyncio.get_running_loop().time())
        await self.open.wait()
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.messages.append(json.loads(body))
        writer.write(f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()


@asynccontextmanager
async def web_hook() -> AsyncGenerator[WebHook]:
    hook = WebHook()
    async with tcp_server(hook.answer) as hook.port:
        try:
            yield hook
        finally:
            hook.open.set()
            await wait_until(lambda: hook.answering == 0, "everybody is answered")

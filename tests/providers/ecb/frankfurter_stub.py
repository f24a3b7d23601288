"""A stand-in for Frankfurter, version 1: a real HTTP server with rates of its own, and every fault on demand."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.tcp_server import tcp_server

_REASONS = {200: "OK", 302: "Found", 404: "Not Found", 422: "Unprocessable Entity", 500: "Internal Server Error"}
_WEEKLY_FROM = timedelta(days=366)


@dataclass(frozen=True)
class Answer:
    """What the server says."""

    status: int
    body: str
    kind: str = "application/json; charset=utf-8"


Fault: TypeAlias = Answer | Literal["silence", "cut"]
"""An answer that is none of Frankfurter's, none at all, or half of one."""

NOT_FOUND = Answer(404, '{"message":"not found"}')


class FrankfurterStub:
    """The server. ``fixings`` are units for one euro by day, each number as it is written; ``faults`` are used up in turn.

    ``fault`` is what every request gets that no other fault is left for.
    """

    def __init__(self) -> None:
        self.fixings: dict[date, Mapping[str, str]] = {}
        self.faults: list[Fault] = []
        self.fault: Fault | None = None
        self.requests: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of one connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        target = head.split(b" ")[1].decode()
        self.requests.append(unquote(target))
        answer = self.faults.pop(0) if self.faults else self.fault or self.answer(target)
        if answer == "silence":
            await reader.read()
        else:
            cut = answer == "cut"
            said = self.answer(target) if isinstance(answer, str) else answer
            body = said.body.encode()
            start = f"HTTP/1.1 {said.status} {_REASONS[said.status]}\r\nContent-Type: {said.kind}\r\nConnection: close\r\n"
            writer.write(f"{start}Content-Length: {len(body)}\r\n\r\n".encode() + body[: len(body) // (1 + cut)])
            await writer.drain()

    def answer(self, target: str) -> Answer:
        """What Frankfurter says to a request for this target."""
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        if query.get("base", "EUR") != "EUR":
            return NOT_FOUND
        match url.path.removeprefix("/v1/").split(".."):
            case ["latest"]:
                days = self._days(max(self.fixings, default=date.min), date.max, query.get("symbols"))
                if not days:
                    return NOT_FOUND
                [(day, rates)] = days.items()
                return Answer(200, f'{{"amount":1.0,"base":"EUR","date":"{day}","rates":{rates}}}')
            case [first, last]:
                since, until = date.fromisoformat(first), date.fromisoformat(last) if last else date.max
                # A range begins with the last fixing before it.
                before = [day for day in self.fixings if day <= since]
                days = self._days(max(before, default=since), until, query.get("symbols"))
                if until - since > _WEEKLY_FROM:
                    days = {day: rates for day, rates in days.items() if day.weekday() == 0}
                if not days:
                    return NOT_FOUND
                rows = ",".join(f'"{day}":{rates}' for day, rates in days.items())
                bounds = f'"start_date":"{min(days)}","end_date":"{max(days)}"'
                return Answer(200, f'{{"amount":1.0,"base":"EUR",{bounds},"rates":{{{rows}}}}}')
        return NOT_FOUND

    def _days(self, first: date, last: date, symbols: str | None) -> dict[date, str]:
        """The rates of these days as JSON, put together as text so that the numbers are those that the test wrote."""
        found = {}
        for day in sorted(self.fixings):
            rates = {code: rate for code, rate in self.fixings[day].items() if symbols is None or code in symbols.split(",")}
            if first <= day <= last and rates:
                found[day] = "{" + ",".join(f"{json.dumps(code)}:{rate}" for code, rate in rates.items()) + "}"
        return found


@asynccontextmanager
async def frankfurter_stub() -> AsyncGenerator[FrankfurterStub]:
    """A running stand-in."""
    stub = FrankfurterStub()
    async with tcp_server(stub.serve) as port:
        stub.url = f"http://127.0.0.1:{port}/v1"
        yield stub

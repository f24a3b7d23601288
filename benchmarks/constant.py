"""A FastAPI application that returns constant bytes: the cost of a route that does no work."""

import socket
import sys

import uvicorn
from fastapi import FastAPI
from starlette.responses import Response

from benchmarks.processes import READY


def constant_app(size: int) -> FastAPI:
    """Return an application with one route, ``/constant``, that returns ``size`` bytes, and no middleware."""
    app = FastAPI()
    body = b"x" * size

    @app.get("/constant")
    async def constant() -> Response:
        return Response(body, media_type="application/json")

    return app


class ConstantServer(uvicorn.Server):
    """uvicorn that prints its URL when it is ready."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"{READY}http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}", flush=True)


if __name__ == "__main__":
    ConstantServer(uvicorn.Config(constant_app(int(sys.argv[1])), port=0, log_config=None, access_log=False)).run()

"""A FastAPI application that answers constant bytes: what any route costs before it does anything."""

import socket
import sys

import uvicorn
from fastapi import FastAPI
from starlette.responses import Response

from benchmarks.processes import READY


def constant_app(size: int) -> FastAPI:
    """One route, ``/constant``, that answers so many bytes, and no middleware."""
    app = FastAPI()
    body = b"x" * size

    @app.get("/constant")
    async def constant() -> Response:
        return Response(body, media_type="application/json")

    return app


class ConstantServer(uvicorn.Server):
    """A server that says where it serves."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"{READY}http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}", flush=True)


if __name__ == "__main__":
    ConstantServer(uvicorn.Config(constant_app(int(sys.argv[1])), port=0, log_config=None, access_log=False)).run()

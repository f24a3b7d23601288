"""HEAD for everything that answers GET: RFC 9110, section 9.3.2."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.realtime.wire.exchange import HEAD_KEY


class _Ended(OSError):
    """The head has been sent, and the client is to get no more."""


class HeadMiddleware:
    """Answer HEAD like GET, with the same headers as far as they are known, and without the body.

    The application below sees a GET. What would take a place or last for a client looks for ``HEAD_KEY`` in the scope; any other
    body ends with its first piece.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        ended = False

        async def send_head(message: Message) -> None:
            nonlocal ended
            if ended:
                raise _Ended
            if message["type"] != "http.response.body":
                await send(message)
                return
            ended = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            if message.get("more_body"):
                raise _Ended

        try:
            await self._app({**scope, "method": "GET", HEAD_KEY: True}, receive, send_head)
        except Exception:
            if not ended:
                raise

"""Who is let in over HTTP, what a refusal looks like, and how long a request may take to arrive."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import h11
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

from bertsmith.errors import BertsmithError, Refusal
from bertsmith.inspection.requests import refusal_of
from bertsmith.inspection.views import as_json

MOST_BYTES = 1 << 20
SENDING_SECONDS = 20.0
LEFT = 499

_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_STATUS = {
    "not_http": 400,
    "unknown_model": 404,
    "not_found": 404,
    "wrong_method": 405,
    "too_slow": 408,
    "too_long": 413,
    "too_large": 413,
    "wrong_host": 421,
    "failed": 500,
    "busy": 503,
}
_INVALID = 422
_MEANING = {
    400: "The request is not HTTP",
    404: "There is no such model",
    405: "The address takes another method",
    408: "The request was not sent in time",
    413: "A text or the request is too long",
    421: "The request names another host or port",
    422: "The request asks for what cannot be answered",
    499: "The browser left before the answer",
    500: "A fault of bertsmith",
    503: "Too many requests are waiting",
}
_App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer: a code that names the reason, a message, and the values in it."""

    code: str
    message: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What comes instead of an answer."""

    error: Problem


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of these statuses; of all unless some are given."""
    return {status: {"model": ErrorAnswer, "description": _MEANING[status]} for status in statuses or _MEANING}


def json_response(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return JSON that is written already."""
    return Response(content, status, headers, media_type="application/json")


def refused(_: Request, error: Exception) -> Response:
    """Return what the page gets instead of an answer."""
    headers = None
    match error:
        case Refusal():
            refusal = error
        case RequestValidationError():
            refusal = refusal_of(error.errors())
        case HTTPException():
            codes = {404: "not_found", 405: "wrong_method"}
            refusal, headers = Refusal(codes.get(error.status_code, "invalid"), str(error.detail)), error.headers
        case BertsmithError():
            refusal = Refusal("failed", str(error))
        case _:  # uvicorn shows the traceback in the terminal
            refusal = Refusal("failed", "this is a fault of bertsmith's; its terminal says more")
    return json_response(_body(refusal), _status(refusal), dict(headers or {}))


def _status(refusal: Refusal) -> int:
    return _STATUS.get(refusal.code, _INVALID)


def _body(refusal: Refusal) -> bytes:
    return as_json(dict[str, Any], refusal.as_json())


class Guard:
    """Lets in what comes from this machine's own pages alone, of bounded size, and sets the headers of every answer.

    A page from elsewhere that has its name point to loopback sends that name as ``Host`` (DNS rebinding); one that posts here
    cannot send JSON without asking first. ``HEAD`` is answered as ``GET`` is; the server leaves the body out.
    """

    def __init__(self, app: _App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        refusal = _objection(scope) if scope["type"] == "http" else None
        if refusal is not None:
            await refused(Request(scope), refusal)(scope, receive, send_with_headers)
        elif scope.get("method") == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)


def _objection(scope: MutableMapping[str, Any]) -> Refusal | None:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host, port = headers.get("host", ""), scope["server"][1]
    if host.lower() not in {*_HOSTS, *(f"{name}:{port}" for name in _HOSTS)}:
        message = f"this page is for this machine alone, not for {host!r:.80}; open http://localhost:{port} instead"
        return Refusal("wrong_host", message, port=port)
    if scope["method"] != "POST":
        return None
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return Refusal("invalid", "a request is JSON: send Content-Type: application/json")
    length = headers.get("content-length", "")
    if not length.isdecimal() or "transfer-encoding" in headers:  # which would end elsewhere than it says
        return Refusal("invalid", "a request says its length: send Content-Length, and no chunks")
    if int(length) > MOST_BYTES:
        message = f"the request has {int(length):,} bytes; at most {MOST_BYTES:,} are read: shorten the text"
        return Refusal("too_large", message, limit=MOST_BYTES, found=int(length))
    return None


class TimedProtocol(H11Protocol):
    """HTTP in which a request must be here :data:`SENDING_SECONDS` after its first byte; a connection without one is closed
    after that time."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to wait."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Wait on, or no longer where the request is whole."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        self._stop()

    def send_400_response(self, msg: str) -> None:
        """Say that what came is no HTTP."""
        self._refuse(Refusal("not_http", msg))

    def _watch(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(SENDING_SECONDS, self._give_up)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        has_begun = self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]
        if has_begun:
            self._refuse(Refusal("too_slow", f"the request was not here after {SENDING_SECONDS:g} seconds"))
        else:
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = _body(refusal)
            fields = {**_HEADERS, "content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
            for event in (
                h11.Response(status_code=_status(refusal), headers=list(fields.items())),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

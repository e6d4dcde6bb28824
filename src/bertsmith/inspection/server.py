"""The page over HTTP, on this machine's loopback address alone.

Quick requests and slow ones have workers of their own, so that none waits for a long one; what a browser asks for and then
leaves is stopped.
"""

import asyncio
import errno
import logging
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import bertsmith
from bertsmith.errors import BertsmithError, Refusal, UsageError
from bertsmith.inspection.cache import Cache
from bertsmith.inspection.cancelling import Cancelled, IsCancelled
from bertsmith.inspection.gallery import Gallery, Models
from bertsmith.inspection.page_files import MEDIA_TYPES, page_files
from bertsmith.inspection.requests import refusal_of
from bertsmith.inspection.views import VIEWS, View, as_json

_LOOPBACK = "127.0.0.1"
_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_MOST_BYTES = 1 << 20
_CACHED_BYTES = 1 << 26
_QUICK_WORKERS, _SLOW_WORKERS, _MOST_WAITING = 2, 1, 32
_POLLING_SECONDS = 0.05
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_STATUS = {
    "unknown_model": 404,
    "not_found": 404,
    "too_long": 413,
    "too_large": 413,
    "wrong_host": 421,
    "failed": 500,
    "busy": 503,
}
_LEFT = 499

log = logging.getLogger("bertsmith")
_App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


def serve(gallery: Gallery, port: int, *, open_browser: bool, say: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        gallery: The models.
        port: The port on loopback; 0 for any that is free.
        open_browser: Whether to open the page.
        say: Shows a line to the user.

    Raises:
        UsageError: the port is in use, or not for ordinary users.
    """
    listening = listen(port)
    address = f"http://{_LOOPBACK}:{listening.getsockname()[1]}/"
    say(f"The page is {address}   (Ctrl-C ends it)")
    if open_browser:
        # The socket listens already, so the browser's first request waits until it is answered.
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    config = uvicorn.Config(make_app(gallery), log_level="warning", server_header=False, timeout_graceful_shutdown=1)
    with listening, suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


def listen(port: int) -> socket.socket:
    """Return a socket that listens on a port of the loopback address."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_LOOPBACK, port))
        listening.listen()
    except OSError as error:
        listening.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        problem = "is in use" if error.errno == errno.EADDRINUSE else "is not for ordinary users"
        raise UsageError(f"port {port} {problem}; take another, such as --port {_free_port()}") from None
    return listening


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((_LOOPBACK, 0))
        port: int = free.getsockname()[1]
    return port


def make_app(gallery: Gallery) -> FastAPI:
    """Return the application: ``/``, the page's files, ``GET /api/models``, ``POST /api/VIEW`` and ``/openapi.json``."""
    quick, slow = _Lane(_QUICK_WORKERS), _Lane(_SLOW_WORKERS)
    answers: Cache[bytes] = Cache(_CACHED_BYTES, len)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        quick.close()
        slow.close()

    app = FastAPI(title="bertsmith inspect", version=bertsmith.__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(_Guard)
    for kind in (RequestValidationError, HTTPException, BertsmithError, Exception):
        app.add_exception_handler(kind, _refused)
    for name, view in VIEWS.items():

        def compute(asked: Any, is_cancelled: IsCancelled, name: str = name, view: View = view) -> bytes:
            return answers.get((name, asked.key), lambda: view.ask(gallery, asked, is_cancelled))

        app.add_api_route(
            f"/api/{name}",
            _endpoint(view.request, slow if view.is_slow else quick, compute),
            methods=["POST"],
            response_model=view.answer,
            summary=view.summary,
            operation_id=name,
        )
    app.get("/api/models", response_model=Models, summary="Models, examples and limits", operation_id="models")(
        lambda: _json(as_json(Models, gallery.describe()))
    )
    app.get("/{name:path}", include_in_schema=False)(_page_file)
    return app


def _endpoint(asks: type, lane: "_Lane", compute: Callable[[Any, IsCancelled], bytes]) -> Callable[..., Awaitable[Response]]:
    async def endpoint(asked: Any, request: Request) -> Response:
        try:
            return _json(await lane.answer(lambda is_cancelled: compute(asked, is_cancelled), request))
        except Cancelled:
            return Response(status_code=_LEFT)

    endpoint.__annotations__["asked"] = asks  # what FastAPI reads the body as
    return endpoint


def _page_file(name: str) -> Response:
    files, wanted = page_files(), name or "index.html"
    if wanted not in files:
        raise Refusal("not_found", f"there is no {wanted} here")
    return Response(files[wanted], media_type=MEDIA_TYPES[wanted.rpartition(".")[2]])


def _json(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type="application/json")


def _refused(_: Request, error: Exception) -> Response:
    """Return what the page gets instead of an answer."""
    match error:
        case Refusal():
            refusal = error
        case RequestValidationError():
            refusal = refusal_of(error.errors())
        case HTTPException():
            refusal = Refusal("not_found" if error.status_code == 404 else "invalid", str(error.detail))
        case BertsmithError():
            refusal = Refusal("failed", str(error))
        case _:  # uvicorn shows the traceback in the terminal
            refusal = Refusal("failed", "this is a fault of bertsmith's; its terminal says more")
    return _json(as_json(dict[str, Any], refusal.as_json()), _STATUS.get(refusal.code, 422))


class _Lane:
    """Workers that answer one kind of request, with no more waiting than they can soon get to."""

    def __init__(self, n_workers: int) -> None:
        self._pool = ThreadPoolExecutor(n_workers)
        self._departures: set[threading.Event] = set()

    async def answer(self, compute: Callable[[IsCancelled], bytes], request: Request) -> bytes:
        """Return what ``compute`` returns; where the browser leaves, let it know, so that it ends with :class:`Cancelled`."""
        if len(self._departures) >= _MOST_WAITING:
            raise Refusal("busy", "too many requests are waiting; try again in a moment")
        departure = threading.Event()

        def work() -> bytes:
            if departure.is_set():
                raise Cancelled
            return compute(departure.is_set)

        self._departures.add(departure)
        try:
            future = asyncio.get_running_loop().run_in_executor(self._pool, work)
            while not (await asyncio.wait([future], timeout=_POLLING_SECONDS))[0]:
                if await request.is_disconnected():
                    departure.set()
            return await future
        finally:
            departure.set()
            self._departures.discard(departure)

    def close(self) -> None:
        """End what runs, and what waits."""
        for departure in self._departures:
            departure.set()
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Guard:
    """Lets in what comes from this machine's own pages alone, of bounded size, and sets the headers of every answer.

    A page from elsewhere that has its name point to loopback sends that name as ``Host`` (DNS rebinding); one that posts here
    cannot send JSON without asking first.
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
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
        else:
            await _refused(Request(scope), refusal)(scope, receive, send_with_headers)


def _objection(scope: MutableMapping[str, Any]) -> Refusal | None:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get("host", "")
    if (host.rpartition(":")[0] or host) not in _HOSTS and host not in _HOSTS:
        return Refusal(
            "wrong_host", f"this page is for this machine alone, not for {host!r:.80}; open http://localhost instead"
        )
    if scope["method"] != "POST":
        return None
    if not headers.get("content-type", "").startswith("application/json"):
        return Refusal("invalid", "a request is JSON: send Content-Type: application/json")
    length = headers.get("content-length", "")
    if not length.isdecimal() or "transfer-encoding" in headers:  # which would end elsewhere than it says
        return Refusal("invalid", "a request says its length: send Content-Length, and no chunks")
    if int(length) > _MOST_BYTES:
        message = f"the request has {int(length):,} bytes; at most {_MOST_BYTES:,} are read: shorten the text"
        return Refusal("too_large", message, limit=_MOST_BYTES, found=int(length))
    return None

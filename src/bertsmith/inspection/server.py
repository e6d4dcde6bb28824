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
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import bertsmith
from bertsmith.errors import BertsmithError, Refusal, UsageError
from bertsmith.inspection.cache import Cache
from bertsmith.inspection.gallery import Gallery, Models
from bertsmith.inspection.guard import LEFT, Guard, TimedProtocol, json_response, refused, responses
from bertsmith.inspection.page_files import MEDIA_TYPES, page_files
from bertsmith.inspection.views import VIEWS, View, as_json
from bertsmith.inspection.watcher import Cancelled, Watcher

_LOOPBACK = "127.0.0.1"
_CACHED_BYTES = 1 << 26
_QUICK_WORKERS, _SLOW_WORKERS, _MOST_WAITING = 2, 1, 32
_POLLING_SECONDS = 0.05
_NAME_HEADER = "x-request-name"

log = logging.getLogger("bertsmith")


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
    with listening, suppress(KeyboardInterrupt):
        make_server(gallery).run(sockets=[listening])


def make_server(gallery: Gallery) -> uvicorn.Server:
    """Return what serves the page on the sockets that it is run with."""
    return uvicorn.Server(
        uvicorn.Config(
            make_app(gallery),
            http=TimedProtocol,
            ws="none",
            proxy_headers=False,
            server_header=False,
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
    )


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
    watchers: dict[str, Watcher] = {}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        quick.close()
        slow.close()

    app = FastAPI(title="bertsmith inspect", version=bertsmith.__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(Guard)
    for kind in (RequestValidationError, HTTPException, BertsmithError, Exception):
        app.add_exception_handler(kind, refused)
    for name, view in VIEWS.items():

        def compute(asked: Any, watcher: Watcher, name: str = name, view: View = view) -> bytes:
            return answers.get((name, asked.key), lambda: view.ask(gallery, asked, watcher))

        app.add_api_route(
            f"/api/{name}",
            _endpoint(view.request, slow if view.is_slow else quick, compute, watchers),
            methods=["POST"],
            response_model=view.answer,
            responses=responses(),
            summary=view.summary,
            operation_id=name,
        )
    app.get(
        "/api/models",
        response_model=Models,
        responses=responses(400, 405, 408, 421, 500),
        summary="Models, examples and limits",
        operation_id="models",
    )(lambda: json_response(as_json(Models, gallery.describe())))
    app.get(
        "/api/progress/{name}",
        response_model=HowFar,
        responses=responses(400, 405, 408, 421, 422, 500),
        summary=f"How far the request is that was sent with this {_NAME_HEADER}",
        operation_id="progress",
    )(lambda name: json_response(as_json(HowFar, _how_far(watchers, name))))
    for name, text in page_files().items():
        app.add_route("/" if name == "index.html" else f"/{name}", _page_file(name, text))
    return app


@dataclass(frozen=True, slots=True)
class HowFar:
    """The share of a request's answer that is computed; None where it still waits, or is no more."""

    share: float | None


def _how_far(watchers: dict[str, Watcher], name: str) -> HowFar:
    return HowFar(watchers[name].share if name in watchers else None)


def _page_file(name: str, text: str) -> Callable[[Request], Response]:
    return lambda _: Response(text, media_type=MEDIA_TYPES[name.rpartition(".")[2]])


def _endpoint(
    asks: type, lane: "_Lane", compute: Callable[[Any, Watcher], bytes], watchers: dict[str, Watcher]
) -> Callable[..., Awaitable[Response]]:
    """Return what answers a view; while it does, ``watchers`` has who waits, by the name that the page gave its request."""

    async def endpoint(asked: Any, request: Request) -> Response:
        name, watcher = request.headers.get(_NAME_HEADER, ""), Watcher()
        watchers[name] = watcher
        try:
            return json_response(await lane.answer(lambda: compute(asked, watcher), request, watcher))
        except Cancelled:
            return Response(status_code=LEFT)
        finally:
            if watchers.get(name) is watcher:
                del watchers[name]

    endpoint.__annotations__["asked"] = asks  # what FastAPI reads the body as
    return endpoint


class _Lane:
    """Workers that answer one kind of request, with no more waiting than they can soon get to."""

    def __init__(self, n_workers: int) -> None:
        self._pool = ThreadPoolExecutor(n_workers)
        self._watchers: set[Watcher] = set()

    async def answer(self, compute: Callable[[], bytes], request: Request, watcher: Watcher) -> bytes:
        """Return what ``compute`` returns; where the browser leaves, the watcher does, so that it ends with
        :class:`Cancelled`."""
        if len(self._watchers) >= _MOST_WAITING:
            raise Refusal("busy", "too many requests are waiting; try again in a moment")

        def work() -> bytes:
            watcher.reach(0)
            return compute()

        self._watchers.add(watcher)
        try:
            future = asyncio.get_running_loop().run_in_executor(self._pool, work)
            while not (await asyncio.wait([future], timeout=_POLLING_SECONDS))[0]:
                if await request.is_disconnected():
                    watcher.leave()
            return await future
        finally:
            watcher.leave()
            self._watchers.discard(watcher)

    def close(self) -> None:
        """End what runs, and what waits."""
        for watcher in self._watchers:
            watcher.leave()
        self._pool.shutdown(wait=False, cancel_futures=True)

"""The routes: the page's files for whoever comes, everything else for whoever has the token."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from zigpt.errors import ModelFileError
from zigpt.runs import foreign
from zigpt.web import questions
from zigpt.web.desk import Desk
from zigpt.web.guard import API, Guard, Refused
from zigpt.web.shelf import Shelf, Shown
from zigpt.web.watch import Watcher, describe_run

STATIC = Path(__file__).parent / "static"
_LOOK_EVERY = 0.3  # seconds between looks at the run folder
_HEARTBEAT = 10.0  # seconds without news after which something is said, to find out who is gone
_MOST_WATCHING = 256


@dataclass
class Site:
    """What one server shows: a run folder or a model file, and the shelf and desk for it."""

    path: Path
    shelf: Shelf
    desk: Desk = field(default_factory=Desk)
    watching: int = 0

    async def model(self) -> Shown:
        """The newest model there is, by the desk: reading it takes a while.

        Raises:
            Refused: there is none yet.
        """
        try:
            return await self.desk.do(self.shelf.newest)
        except ModelFileError as error:
            raise Refused(404, f"{error.what}: {error.why}") from error


def create_app(site: Site, hosts: Iterable[str], token: str) -> Guard:
    """Build the guarded application; `hosts` are the names under which it may be asked."""

    async def enter(request: Request) -> Response:
        asked = await _asked(request)
        if not guard.is_token(questions.field(asked, "token", str)):
            raise Refused(401, "this is not the token that the terminal shows")
        response = JSONResponse({})
        response.set_cookie(guard.cookie, token, httponly=True, samesite="strict", path="/")
        return response

    async def describe(request: Request) -> Response:
        run = describe_run(site.path)
        shown: dict[str, Any] | None = None
        try:
            newest = await site.model()
            about = questions.describe(newest.saved)
            shown = {**about, "version": newest.version, "trouble": newest.trouble}
        except Refused as refusal:
            if refusal.status != 404:
                raise
        return JSONResponse({"run": run, "model": shown})

    async def watch(request: Request) -> Response:
        if site.watching >= _MOST_WATCHING:
            raise Refused(503, "too many are watching", {"Retry-After": "5"})
        return StreamingResponse(_news(site), media_type="text/event-stream")

    async def write(request: Request) -> Response:
        asked = await _asked(request)
        saved = (await site.model()).saved
        texts = questions.written(saved, asked)
        first = await site.desk.do(lambda: next(texts, None))
        return StreamingResponse(_lines(site, first, texts), media_type="application/x-ndjson")

    async def health(request: Request) -> Response:
        return JSONResponse({"ok": True})

    app = Starlette(
        routes=[
            Route("/enter", enter, methods=["POST"]),
            Route(API + "health", health),
            Route(API + "run", describe),
            Route(API + "watch", watch),
            Route(API + "write", write, methods=["POST"]),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ],
        exception_handlers={Refused: _refuse},
    )
    guard = Guard(app, hosts, token)
    return guard


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.response()


async def _asked(request: Request) -> Any:
    try:
        return foreign.parse(await request.body())
    except ValueError as error:
        raise Refused(400, f"this is no JSON: {error}") from error


async def _news(site: Site) -> AsyncIterator[str]:
    """Server-sent events, as long as somebody listens."""
    watcher, quiet = Watcher(site.path), 0.0
    site.watching += 1
    try:
        while True:
            events = await asyncio.to_thread(lambda: list(watcher.news()))
            for event in events:
                yield f"data: {json.dumps(event)}\n\n"
            quiet = 0.0 if events else quiet + _LOOK_EVERY
            if quiet > _HEARTBEAT:
                yield ":\n\n"
                quiet = 0.0
            await asyncio.sleep(_LOOK_EVERY)
    finally:
        site.watching -= 1


async def _lines(site: Site, first: Any, rest: Any) -> AsyncIterator[str]:
    """JSON line by line; what is not asked for any more is not computed."""
    piece = first
    while piece is not None:
        yield json.dumps(piece) + "\n"
        piece = await site.desk.do(lambda: next(rest, None))

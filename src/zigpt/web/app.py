"""The routes: the page's files for whoever comes, everything else for whoever has the token."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from zigpt.errors import ModelFileError
from zigpt.runs import foreign
from zigpt.runs.paths import list_snapshots
from zigpt.web import questions
from zigpt.web.desk import Desk
from zigpt.web.guard import API, Guard, Refused
from zigpt.web.looking import QUESTIONS, Windows
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
    windows: Windows = field(default_factory=Windows)
    watching: int = 0

    async def model(self, step: int | None = None) -> Shown:
        """The newest model there is, or that of a step, by the desk: reading it takes a while.

        Raises:
            Refused: there is none.
        """
        try:
            if step is None:
                return await self.desk.do(self.shelf.newest)
            return await self.desk.do(partial(self.shelf.at, step))
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

    answers = _Answers(site)
    app = Starlette(
        routes=[
            Route("/enter", enter, methods=["POST"]),
            Route(API + "health", answers.health),
            Route(API + "run", answers.describe),
            Route(API + "watch", answers.watch),
            Route(API + "write", answers.write, methods=["POST"]),
            Route(API + "look/{question}", answers.look, methods=["POST"]),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ],
        exception_handlers={Refused: _refuse},
    )
    guard = Guard(app, hosts, token)
    return guard


class _Answers:
    """What is behind the routes of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def health(self, request: Request) -> Response:
        return JSONResponse({"ok": True})

    async def describe(self, request: Request) -> Response:
        run = describe_run(self._site.path)
        shown: dict[str, Any] | None = None
        try:
            newest = await self._site.model()
            about = questions.describe(newest.saved)
            shown = {**about, "version": newest.version, "trouble": newest.trouble}
        except Refused as refusal:
            if refusal.status != 404:
                raise
        steps = list_snapshots(self._site.path)
        return JSONResponse({"run": run, "model": shown, "snapshots": steps})

    async def watch(self, request: Request) -> Response:
        if self._site.watching >= _MOST_WATCHING:
            raise Refused(503, "too many are watching", {"Retry-After": "5"})
        return StreamingResponse(_news(self._site), media_type="text/event-stream")

    async def write(self, request: Request) -> Response:
        asked = await _asked(request)
        saved = (await self._site.model(questions.moment(asked))).saved
        texts = questions.written(saved, asked)
        first = await self._site.desk.do(lambda: next(texts, None))
        lines = _lines(self._site, first, texts)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    async def look(self, request: Request) -> Response:
        question = QUESTIONS.get(request.path_params["question"])
        if question is None:
            raise Refused(404, "this cannot be asked")
        asked = await _asked(request)
        shown = await self._site.model(questions.moment(asked))
        windows = self._site.windows

        def answer() -> dict[str, Any] | bytes:
            return question(windows.look(shown.saved, shown.version, asked), asked)

        found = await self._site.desk.do(answer)
        if isinstance(found, bytes):
            return Response(found, media_type="application/octet-stream")
        return JSONResponse(found)


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

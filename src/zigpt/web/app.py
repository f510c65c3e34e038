"""The routes: the page's files for whoever comes, everything else for whoever has the token."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from zigpt import untrusted_json
from zigpt.errors import ZigptError
from zigpt.web import inside, looking, questions
from zigpt.web.drawing import drawn
from zigpt.web.guard import API, Guard, Refused
from zigpt.web.site import LOOK_EVERY, Site
from zigpt.web.watch import Watcher

STATIC = Path(__file__).parent / "static"
QUESTIONS = looking.QUESTIONS | inside.QUESTIONS
_HEARTBEAT = 10.0  # seconds without news after which something is said, to find out who is gone
_RETRY_AFTER = 1000  # milliseconds until a page that lost us looks for us again
_MOST_WATCHING = 256


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
            Route(API + "train", answers.train, methods=["POST"]),
            Route(API + "write", answers.write, methods=["POST"]),
            Route(API + "draw", answers.draw, methods=["POST"]),
            Route(API + "copies", answers.copies, methods=["POST"]),
            Route(API + "look/{question}", answers.look, methods=["POST"]),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ],
        exception_handlers={Refused: _refuse, ZigptError: _refuse_model},
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
        return JSONResponse(await self._site.describe())

    async def train(self, request: Request) -> Response:
        asked = await _asked(request)
        what = questions.field(asked, "do", str)
        if what == "start":
            await asyncio.to_thread(self._site.trainer.start, asked)
        else:
            await asyncio.to_thread(self._site.trainer.steer, self._site.path, what)
        return JSONResponse({})

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

    async def draw(self, request: Request) -> Response:
        asked = await _asked(request)
        saved = (await self._site.model(questions.moment(asked))).saved
        return JSONResponse(await self._site.desk.do(partial(drawn, saved, asked)))

    async def copies(self, request: Request) -> Response:
        asked = await _asked(request)
        saved = (await self._site.model(questions.moment(asked))).saved
        find = partial(self._site.library.copies, saved, asked)
        return JSONResponse(await self._site.library_desk.do(find))

    async def look(self, request: Request) -> Response:
        question = QUESTIONS.get(request.path_params["question"])
        if question is None:
            raise Refused(404, "this cannot be asked")
        asked = await _asked(request)
        shown = await self._site.model(questions.moment(asked))
        windows = self._site.windows

        def answer() -> dict[str, Any] | bytes:
            return question(windows.look(shown, asked), asked)

        try:
            found = await self._site.desk.do(answer)
            if isinstance(found, bytes):
                return Response(found, media_type="application/octet-stream")
            return JSONResponse(found)
        except (ValueError, IndexError) as error:  # such as numbers that are none: JSON has no NaN
            raise Refused(422, str(error)) from error


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.response()


async def _refuse_model(request: Request, error: Exception) -> Response:
    """Such as scores that are no numbers: the model is not what it should be."""
    assert isinstance(error, ZigptError)
    return Refused(422, f"{error.what}: {error.why}").response()


async def _asked(request: Request) -> Any:
    try:
        return untrusted_json.parse(await request.body())
    except ClientDisconnect as error:
        raise Refused(400, "the end of this request never came") from error
    except ValueError as error:
        raise Refused(400, f"this is no JSON: {error}") from error


async def _news(site: Site) -> AsyncIterator[str]:
    """Server-sent events, as long as somebody listens."""
    watcher, quiet = Watcher(site.path), 0.0
    site.watching += 1
    try:
        yield f"retry: {_RETRY_AFTER}\n\n"
        while True:
            if watcher.path != site.path:
                watcher = Watcher(site.path)
                yield _event({"kind": "run"})
            now = await site.now()
            # Nearly always there is nothing: two looks at a size, and no thread is asked for them.
            events = await asyncio.to_thread(watcher.news, now) if watcher.is_due(now) else []
            for event in events:
                yield _event(event)
            quiet = 0.0 if events else quiet + LOOK_EVERY
            if quiet > _HEARTBEAT:
                yield ":\n\n"
                quiet = 0.0
            await asyncio.sleep(LOOK_EVERY)
    finally:
        site.watching -= 1


def _event(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event)}\n\n"


async def _lines(site: Site, first: Any, rest: Any) -> AsyncIterator[str]:
    """JSON line by line; what is not asked for any more is not computed."""
    piece = first
    while piece is not None:
        yield json.dumps(piece) + "\n"
        piece = await site.desk.do(lambda: next(rest, None), is_begun=True)

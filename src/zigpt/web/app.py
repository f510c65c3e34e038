"""The routes: the page's own files for anyone, everything else for those who have the token."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from zigpt.errors import ConfigError, StorageError, ZigptError
from zigpt.web.app_state import POLL_EVERY, AppState
from zigpt.web.guard import API, Guard, Refused, cookie_name
from zigpt.web.handlers import attention, tensors, windows
from zigpt.web.handlers.drawing import redraw
from zigpt.web.handlers.requests import (
    ControlRequest,
    CopiesRequest,
    EnterRequest,
    HeadRequest,
    InfluenceRequest,
    Kind,
    PartsRequest,
    RedrawRequest,
    StartRequest,
    TargetRequest,
    TensorRequest,
    WindowRequest,
    WriteRequest,
    parse,
)
from zigpt.web.handlers.windows import Handler
from zigpt.web.handlers.writing import stream_text
from zigpt.web.watch import Watcher

STATIC = Path(__file__).parent / "static"
WINDOW_HANDLERS: dict[str, Handler[Any]] = {
    "predictions": Handler(WindowRequest, windows.predictions),
    "layers": Handler(TargetRequest, windows.layers),
    "parts": Handler(PartsRequest, windows.parts),
    "heads": Handler(WindowRequest, attention.all_heads),
    "attention": Handler(HeadRequest, attention.one_head),
    "influence": Handler(InfluenceRequest, attention.change_reach),
    "tensors": Handler(WindowRequest, tensors.list_tensors),
    "cells": Handler(TensorRequest, tensors.cells),
    "trace": Handler(TensorRequest, tensors.explain),
}
_HEARTBEAT = 10.0  # seconds without news after which a comment is sent: it shows who has left
_RETRY_AFTER = 1000  # milliseconds until a page that lost the connection tries again
_MOST_WATCHING = 256


def create_app(state: AppState, allow_remote: bool, token: str) -> Guard:
    """Build the guarded application; with `allow_remote` it answers under any name."""

    async def enter(request: Request) -> Response:
        if not guard.is_token((await _parse(request, EnterRequest)).token):
            raise Refused(401, "this is not the token that the terminal shows")
        response = JSONResponse({})
        name = cookie_name(request.headers)
        response.set_cookie(name, token, httponly=True, samesite="strict", path="/")
        return response

    routes = _Routes(state)
    app = Starlette(
        routes=[
            Route("/enter", enter, methods=["POST"]),
            Route(API + "health", routes.health),
            Route(API + "run", routes.describe),
            Route(API + "watch", routes.watch),
            Route(API + "train", routes.train, methods=["POST"]),
            Route(API + "control", routes.control, methods=["POST"]),
            Route(API + "write", routes.write, methods=["POST"]),
            Route(API + "redraw", routes.redraw, methods=["POST"]),
            Route(API + "copies", routes.copies, methods=["POST"]),
            Route(API + "window/{name}", routes.window, methods=["POST"]),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ],
        exception_handlers={Refused: _refuse, ZigptError: _refuse},
    )
    guard = Guard(app, allow_remote, token)
    return guard


class _Routes:
    """The routes under `/api/`."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    async def health(self, request: Request) -> Response:
        return JSONResponse({"ok": True})

    async def describe(self, request: Request) -> Response:
        return JSONResponse(await self._state.describe())

    async def watch(self, request: Request) -> Response:
        if self._state.watching >= _MOST_WATCHING:
            raise Refused(503, "too many are watching", {"Retry-After": "5"})
        return StreamingResponse(_events(self._state), media_type="text/event-stream")

    async def train(self, request: Request) -> Response:
        wanted = await _parse(request, StartRequest)
        await asyncio.to_thread(self._state.trainer.start, wanted)
        return JSONResponse({})

    async def control(self, request: Request) -> Response:
        wanted = await _parse(request, ControlRequest)
        await asyncio.to_thread(self._state.trainer.control, self._state.path, wanted.action)
        return JSONResponse({})

    async def write(self, request: Request) -> Response:
        wanted = await _parse(request, WriteRequest)
        model = await self._state.model(wanted.at)
        characters = stream_text(model.saved, wanted)
        # The first one before the answer begins: what is wrong with the request shows here.
        first = await self._state.worker.run(partial(next, characters, None))
        lines = _lines(self._state, first, characters)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    async def redraw(self, request: Request) -> Response:
        wanted = await _parse(request, RedrawRequest)
        model = await self._state.model(wanted.at)
        return JSONResponse(await self._state.worker.run(partial(redraw, model.saved, wanted)))

    async def copies(self, request: Request) -> Response:
        wanted = await _parse(request, CopiesRequest)
        model = await self._state.model(wanted.at)
        find = partial(self._state.copy_finder.find, self._state.path, model.saved, wanted.text)
        return JSONResponse(await self._state.copy_worker.run(find))

    async def window(self, request: Request) -> Response:
        handler = WINDOW_HANDLERS.get(request.path_params["name"])
        if handler is None:
            raise Refused(404, "there is no such view of a window")
        wanted = await _parse(request, handler.request)
        cache = self._state.windows  # now: another run brings its own
        model = await self._state.model(wanted.at)
        answer = await self._state.worker.run(
            lambda: handler.answer(cache.read(model, wanted.text), wanted)
        )
        if isinstance(answer, bytes):
            return Response(answer, media_type="application/octet-stream")
        try:
            return JSONResponse(answer)
        except ValueError as error:  # JSON has no NaN and no infinity
            raise Refused(
                422, f"the model computes numbers that are not finite: {error}"
            ) from error


async def _refuse(request: Request, error: Exception) -> Response:
    if isinstance(error, Refused):
        return error.response()
    assert isinstance(error, ZigptError)
    status = 507 if isinstance(error, StorageError) else 422
    why = error.why if isinstance(error, ConfigError) else f"{error.what}: {error.why}"
    return Refused(status, why).response()


async def _parse(request: Request, kind: type[Kind]) -> Kind:
    try:
        return parse(kind, await request.body())
    except ClientDisconnect as error:
        raise Refused(400, "the request broke off") from error


async def _events(state: AppState) -> AsyncIterator[str]:
    """Server-sent events, for as long as the client listens."""
    watcher, quiet = Watcher(state.path), 0.0
    state.watching += 1
    try:
        yield f"retry: {_RETRY_AFTER}\n\n"
        while True:
            if watcher.path != state.path:
                watcher = Watcher(state.path)
                yield _event({"kind": "run"})
            now = await state.poll()
            # Nearly always there is nothing: to find that out takes no thread.
            events = await asyncio.to_thread(watcher.news, now) if watcher.is_due(now) else []
            for event in events:
                yield _event(event)
            quiet = 0.0 if events else quiet + POLL_EVERY
            if quiet > _HEARTBEAT:
                yield ":\n\n"
                quiet = 0.0
            await asyncio.sleep(POLL_EVERY)
    finally:
        state.watching -= 1


def _event(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event)}\n\n"


async def _lines(
    state: AppState, first: dict[str, Any] | None, rest: Iterator[dict[str, Any]]
) -> AsyncIterator[str]:
    """JSON line by line; a character is only computed when the client has read the one before."""
    character = first
    while character is not None:
        yield json.dumps(character) + "\n"
        character = await state.worker.run(partial(next, rest, None), continues=True)

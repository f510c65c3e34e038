"""Who is answered: every request is checked here before its route is looked up.

A server on 127.0.0.1 can be reached by every page that is open in the same browser, and by any name
that someone else's DNS points there. So every request must name a loopback host unless others are
allowed, must not come from another origin, and, beyond the page's own files, must hold the token
that only the terminal showed.
"""

import asyncio
import hmac
import ipaddress
import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zigpt.language import Language, speak, tr

API = "/api/"
MOST_BODY = 1 << 20  # bytes of JSON in one request
MOST_TEXT = 16 << 20  # the same for a text to train on
MOST_HEADERS = 16 << 10  # bytes of all headers together
PATIENCE = 10.0  # seconds that a client may take to read a piece of an answer
_SAFE = ("GET", "HEAD")
_HOST = re.compile(r"(?P<name>\[[^][]+\]|[^][:]+)(:(?P<port>[1-9]\d*))?")
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep events until it has some kilobytes of them
}


class Refused(Exception):
    """An answer that consists of a status and a sentence."""

    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers

    def response(self) -> JSONResponse:
        """The sentence as JSON."""
        return JSONResponse({"error": self.why}, self.status, self.headers)


class Guard:
    """Passes on to `app` what comes from the owner of the terminal, and nothing else.

    With `allow_remote` any name is ours; without it, only those that no DNS can point elsewhere.
    """

    def __init__(self, app: ASGIApp, allow_remote: bool, token: str) -> None:
        self._app, self._allow_remote, self._token = app, allow_remote, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, limit its size and the time of its answer, and pass it on."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        answer = _patient(_with_headers(send))
        try:
            if scope["type"] != "http":
                raise Refused(403, "this server only speaks HTTP")
            headers = Headers(scope=scope)
            with speak(_language(headers)):
                self._check(scope, headers)
                await self._app(scope, _limited(receive, _most(scope)), answer)
        except Refused as refusal:
            await refusal.response()(scope, receive, answer)

    def is_token(self, offered: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(offered.encode(errors="replace"), self._token.encode())

    def _check(self, scope: Scope, headers: Headers) -> None:
        if sum(len(name) + len(value) for name, value in headers.raw) > MOST_HEADERS:
            raise Refused(431, f"more than {MOST_HEADERS:,} bytes of headers")
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            raise Refused(421, "a request must name one host")
        if not self._allow_remote and not is_loopback(_split(hosts[0])[0]):
            raise Refused(421, tr("the page opens under this name only with option allow-remote"))
        if _is_foreign(scope, headers, self._allow_remote):
            raise Refused(403, "this comes from another page")
        changes = scope["method"] not in _SAFE
        if changes and headers.get("content-type") != "application/json":
            raise Refused(415, "a request must be application/json")
        if int(_digits(headers.get("content-length", "0"))) > _most(scope):
            raise Refused(413, f"more than {_most(scope):,} bytes")
        if scope["path"].startswith(API) and not self._has_token(headers):
            raise Refused(401, "open the address that the terminal shows: it holds a token")

    def _has_token(self, headers: Headers) -> bool:
        kind, _, offered = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.is_token(offered)
        jar = SimpleCookie()
        try:
            jar.load(headers.get("cookie", ""))
        except CookieError:
            return False
        name = cookie_name(headers)
        return name in jar and self.is_token(jar[name].value)


def is_loopback(name: str) -> bool:
    """Whether a name or address is this machine's for everyone, whatever a DNS says."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower().removesuffix(".") == "localhost"


def cookie_name(headers: Headers) -> str:
    """Name the cookie by the port in the browser's address.

    Cookies know no port: two servers that one browser reaches under one name, perhaps through
    forwarded ports, must not overwrite each other's.
    """
    return f"zigpt-{_split(headers['host'])[1]}"


def _split(host: str) -> tuple[str, str]:
    """Split a Host header into name and port; what is not one has an empty name."""
    found = _HOST.fullmatch(host)
    return (found["name"].strip("[]"), found["port"] or "80") if found else ("", "80")


def _is_foreign(scope: Scope, headers: Headers, allow_remote: bool) -> bool:
    """Whether another page of the same browser sends this.

    Sec-Fetch-Site compares with the address that the browser shows. Origin has to be compared with
    Host, which a proxy may have rewritten, so it counts only where there is nothing better and no
    proxy is expected.
    """
    site, origins = headers.get("sec-fetch-site"), headers.getlist("origin")
    if scope["method"] not in _SAFE and not origins:
        return True
    if site not in (None, "none", "same-origin"):
        return not _is_followed_link(scope, headers)
    is_known = site == "same-origin" or allow_remote
    return not is_known and any(origin != f"http://{headers['host']}" for origin in origins)


def _is_followed_link(scope: Scope, headers: Headers) -> bool:
    """Whether the address was clicked somewhere, in a terminal in the browser for example.

    The page then fills its tab, with nothing that a script of the other could read.
    """
    how = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    is_file = scope["method"] in _SAFE and not scope["path"].startswith(API)
    return is_file and how == ("navigate", "document")


def _language(headers: Headers) -> Language:
    return "zh" if headers.get("accept-language", "").lower().startswith("zh") else "en"


def _digits(length: str) -> str:
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        raise Refused(400, "Content-Length is not a number")
    return length


def _most(scope: Scope) -> int:
    return MOST_TEXT if scope["path"] == API + "train" else MOST_BODY


def _limited(receive: Receive, most: int) -> Receive:
    """Count what arrives: the announced length may be false or missing."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise Refused(413, f"more than {most:,} bytes")
        return message

    return counted


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            named = [(key.lower().encode(), value.encode()) for key, value in _HEADERS.items()]
            message["headers"] = [*message.get("headers", []), *named]
        await send(message)

    return sent


def _patient(send: Send) -> Send:
    """Give up on a client that does not read its answer."""

    async def sent(message: Message) -> None:
        await asyncio.wait_for(send(message), PATIENCE)

    return sent

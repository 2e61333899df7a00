"""
Requests to URLs that others chose: an operator's endpoint from a registry, a source of prices.

What decides is the address that is really connected to, looked at when the socket is made: a name that leads elsewhere
the second time it is asked (DNS rebinding) gains nothing. Redirects are not followed, packed bodies are refused, and
one time limit holds over all of it. No answer is believed here; that is the caller's business.
"""

import asyncio
import errno
import ipaddress
import json
import socket
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from listener.errors import FetchFailed

if TYPE_CHECKING:
    import aiohttp

LONGEST_URL = 2048
KEPT = 64  # answers that are shared
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address behind a translator
_ASSIGNMENTS = ipaddress.IPv4Network("192.0.0.0/24")  # RFC 6890; older Pythons know parts of it only
_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291: all that is global so far
# Our own network or resolver is away: that says nothing of the stranger.
_OURS = {errno.ENETUNREACH, errno.ENETDOWN, errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL}


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a stranger answered."""

    status: int
    body: bytes

    def json(self) -> Any:
        """
        Read the body as JSON; numbers with a point are Decimal, so that none loses a digit.

        Raises:
            FetchFailed: it is none.
        """
        try:
            return json.loads(self.body, parse_float=Decimal, parse_constant=_no_number)
        except (ValueError, RecursionError, ArithmeticError):
            raise FetchFailed("the answer is not JSON") from None


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


async def fetch(  # noqa: PLR0913 - each is a limit that the caller knows and we do not
    url: str,
    *,
    json: Any = None,
    allow_private: bool = False,
    timeout_s: float = 10.0,
    max_bytes: int = 65_536,
    shared_s: float = 0.0,
) -> Fetched:
    """
    Ask a URL that somebody else chose; GET, or POST of ``json``.

    Args:
        url: http or https, without user and password.
        json: what is posted.
        allow_private: whether addresses that are not of the open Internet may be asked: one's own machine and network.
        timeout_s: for all of it, from looking up the name to the last byte.
        max_bytes: of the body.
        shared_s: an equal request that was begun less than this ago is not made again; its answer is shared. For
            ``validate``, where strangers decide how often it is asked.

    Raises:
        FetchFailed: there is no whole answer; ``is_ours`` says that our own network is to blame.
    """
    ask = _Request(url, None if json is None else _dumped(json), allow_private, timeout_s, max_bytes)
    return await (_shared(ask, shared_s) if shared_s > 0 else _fetch(ask))


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the open Internet, and hides none that is not."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        hidden = found.ipv4_mapped or found.sixtofour
        if hidden is not None:
            return is_public(str(hidden))
        if found not in _UNICAST or found.teredo is not None:
            return False
    if found in _ASSIGNMENTS:
        return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


@dataclass(frozen=True, slots=True)
class _Request:
    url: str
    body: bytes | None
    allow_private: bool
    timeout_s: float
    max_bytes: int


@dataclass(slots=True)
class _Shared:
    begun: float
    task: "asyncio.Task[Fetched]"
    waiting: int = 0


_answers: dict[_Request, _Shared] = {}  # of the loop that asked; those of a loop that ended are found by their task


async def _shared(ask: _Request, shared_s: float) -> Fetched:
    loop = asyncio.get_running_loop()
    found = _answers.get(ask)
    if found is None or found.task.get_loop() is not loop or loop.time() - found.begun >= shared_s:
        while len(_answers) >= KEPT:
            _answers.pop(next(iter(_answers)))
        _answers.pop(ask, None)
        found = _answers[ask] = _Shared(loop.time(), loop.create_task(_fetch(ask)))
    found.waiting += 1
    try:
        return await asyncio.shield(found.task)  # who goes away leaves the others their answer
    finally:
        found.waiting -= 1
        if not found.waiting and not found.task.done():
            found.task.cancel()
            if _answers.get(ask) is found:
                del _answers[ask]


async def _fetch(ask: _Request) -> Fetched:
    import aiohttp  # noqa: PLC0415 - a task that fetches nothing does without

    place = _place(ask.url)
    gate = _Gate(allow_private=ask.allow_private)
    try:
        async with asyncio.timeout(ask.timeout_s):
            connector = aiohttp.TCPConnector(socket_factory=gate.open, force_close=True, use_dns_cache=False)
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                    headers={"Accept-Encoding": "identity", "Accept": "application/json"},
                ) as session,
                session.request(
                    "GET" if ask.body is None else "POST",
                    ask.url,
                    data=ask.body,
                    headers={} if ask.body is None else {"Content-Type": "application/json"},
                    allow_redirects=False,
                ) as response,
            ):
                return Fetched(response.status, await _read(response, ask.max_bytes, place))
    except TimeoutError:
        raise FetchFailed(f"{place}: no whole answer within {ask.timeout_s:g} s") from None
    except (aiohttp.ClientError, ValueError, OSError) as error:
        if gate.refused is not None:
            raise FetchFailed(f"{place}: {gate.refused} is no address of the open Internet") from None
        raise FetchFailed(f"{place}: {type(error).__name__}", is_ours=_is_ours(error)) from None


async def _read(response: "aiohttp.ClientResponse", max_bytes: int, place: str) -> bytes:
    if 300 <= response.status < 400:
        raise FetchFailed(f"{place}: it sends us elsewhere ({response.status}), and redirects are not followed")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed(f"{place}: the answer is packed, which was not asked for")
    found = bytearray()
    async for piece in response.content.iter_any():
        found += piece
        if len(found) > max_bytes:
            raise FetchFailed(f"{place}: the answer is larger than {max_bytes} bytes")
    return bytes(found)


class _Gate:
    """Opens sockets, to addresses that may be asked alone; what it refused is remembered for the message."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self.refused: str | None = None

    def open(self, info: Any) -> socket.socket:
        """Make the socket with which aiohttp connects to this very address, a literal or one that a name led to."""
        family, kind, protocol, _, address = info
        if not self._allow_private and not is_public(str(address[0])):
            self.refused = str(address[0])
            raise OSError(errno.EACCES, "not an address that may be asked")
        return socket.socket(family, kind, protocol)


def _place(url: str) -> str:
    """
    Give scheme, host and port, all of a URL that is shown: the rest may hold a key.

    Raises:
        FetchFailed: it is no URL that may be asked.
    """
    from yarl import URL  # noqa: PLC0415 - as aiohttp, which brings it

    try:
        found = URL(url) if len(url) <= LONGEST_URL and url.isascii() and url.isprintable() else None
        if found and found.scheme in {"http", "https"} and found.host and found.port and "@" not in found.raw_authority:
            return f"{found.scheme}://{found.host}:{found.port}"
    except ValueError:
        pass
    raise FetchFailed("not a URL that may be asked: it is http or https, in ASCII, without a user")


def _is_ours(error: BaseException) -> bool:
    """Tell whether our own network or resolver failed."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN:
        return True
    return isinstance(error, OSError) and error.errno in _OURS


def _dumped(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()

"""URLs that may hold credentials: kept whole for the one who connects, redacted for everyone who looks."""

import re
from typing import Annotated, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Secret, ValidationInfo

from listener.config.secret import resolved
from listener.config.surroundings import Surroundings

_PLAIN_SEGMENT = re.compile(r"[A-Za-z-]{0,15}|v\d{1,2}")  # anything else in a path may be an API key
_LONGEST_SCHEME = 12  # what stands before the colon of something longer is no scheme, and may be a secret


class Url(Secret[str]):
    """A URL; ``get_secret_value()`` is the whole of it, ``str()`` leaves out what may be a credential."""

    @property
    def redacted(self) -> str:
        """Scheme, host, port and the plain words of the path."""
        parts = urlsplit(self.get_secret_value())
        if parts.scheme.startswith("sqlite"):
            return self.get_secret_value()  # a file's place, without a user or a password
        if self._is_database:
            return f"{parts.scheme}://{_place(parts)}{parts.path}"
        path = "/".join(word if _PLAIN_SEGMENT.fullmatch(word) else "…" for word in parts.path.split("/"))
        return f"{parts.scheme}://{_place(parts)}{path}{'?…' if parts.query else ''}"

    @property
    def secrets(self) -> list[str]:
        """What ``redacted`` leaves out, in one piece and in parts: a node's error text may quote the key alone."""
        whole = self.get_secret_value()
        if whole == self.redacted:
            return []
        parts = urlsplit(whole)
        if self._is_database:  # its names are no secrets, and may be words that every line holds
            options = [value for name, value in parse_qsl(parts.query) if "password" in name]
            given = parts.password or ""
            return [whole, *(word for word in (given, unquote(given), *options) if word)]
        words = [*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))]
        hidden = [word for word in words if not _PLAIN_SEGMENT.fullmatch(word)]
        hidden += [given for word in (parts.username, parts.password) if word for given in (word, unquote(word))]
        return [whole, *hidden]

    @property
    def scheme(self) -> str:
        """Its scheme, lower-case."""
        return urlsplit(self.get_secret_value()).scheme

    @property
    def _is_database(self) -> bool:
        return self.scheme.startswith("postgres")

    def _display(self) -> str:
        return self.redacted


def _place(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port is None else f"{host}:{parts.port}"


def _resolve(value: Any, info: ValidationInfo) -> Any:
    text = resolved(value, Surroundings.of(info))
    if not isinstance(text, str | Url):
        raise ValueError('write a URL in quotes, { env = "NAME" } or { file = "PATH" }')  # noqa: TRY004 -- a value
    return text


def _checked(url: Url, schemes: tuple[str, ...]) -> Url:
    """Refuse what nobody could connect to; the message never holds the URL, which may be a key in the wrong place."""
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(url.get_secret_value())
        port = parts.port
    except ValueError as error:
        raise ValueError(f"not a URL; write {wanted}host:port") from error
    if parts.scheme not in schemes:
        given = f"{parts.scheme}:// is not one of its schemes" if 0 < len(parts.scheme) < _LONGEST_SCHEME else "no URL"
        raise ValueError(f"{given}; write {wanted}…")
    if not parts.hostname or port == 0:
        raise ValueError(f"the URL names no host; write {wanted}host:port")
    return url


def server(url: Url) -> Url:
    """
    Refuse the URL of a database that nobody could connect to; a message never holds the URL.

    Raises:
        ValueError: it names no host or no database.
    """
    wanted = "write postgresql://NAME:PASSWORD@host:5432/database"
    try:
        parts = urlsplit(url.get_secret_value())
        port = parts.port
    except ValueError:  # whose text may hold a part of the password
        raise ValueError(f"not a URL; {wanted}, with %40 for an @ and %2F for a / in the password") from None
    if port == 0 or not (parts.hostname or "host" in dict(parse_qsl(parts.query))):
        raise ValueError(f"the URL names no host; {wanted}")
    if parts.fragment or not parts.path.strip("/") or "/" in parts.path.removeprefix("/"):
        raise ValueError(f"the URL names no database; {wanted}")
    return url


def _endpoint(url: Url) -> Url:
    return _checked(url, ("ws", "wss", "http", "https"))


def _http(url: Url) -> Url:
    return _checked(url, ("http", "https"))


AnyUrl = Annotated[Url, BeforeValidator(_resolve)]
EndpointUrl = Annotated[AnyUrl, AfterValidator(_endpoint)]
HttpUrl = Annotated[AnyUrl, AfterValidator(_http)]

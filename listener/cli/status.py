"""``listener status``: what a running daemon says of itself, asked over its HTTP side."""

import json as json_
import os
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listener.cli.run import CONFIG, ConfigPath
from listener.errors import NotPossible

if TYPE_CHECKING:
    from rich.console import Group

    from listener.config import Http

TIMEOUT_S = 5.0
EVERY_S = 2.0
CHAINS = ("name", "cursor", "head", "lag", "state", "updated_at")
ERRORS = ("id", "rule", "state", "block_number", "created_at", "error")

Status = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(
    config: ConfigPath = CONFIG,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object; with --watch one a line.")] = False,
    url: Annotated[
        str | None, typer.Option(help="Where the daemon answers, if not where config.toml binds it.")
    ] = None,
) -> None:
    """
    Ask a running daemon how it is: whether it is ready, its chains, its tasks by state, the last errors.

    Example: listener status --watch
    """
    from listener.config import load  # noqa: PLC0415 - see cli/__init__.py

    settings = load(config, os.environ, require_key=False, performs=False).http  # an attester's file will do
    place = (url or _url(settings.bind)).rstrip("/")
    if watch:
        with suppress(KeyboardInterrupt):  # the way to end it
            _print_lines(place, settings, again=True) if json else _watch(place, settings)
    elif json:
        _print_lines(place, settings, again=False)
    else:
        from rich.console import Console  # noqa: PLC0415

        Console().print(_shown(_asked(place, settings)))


def _url(bind: str) -> str:
    """Give the URL at which this machine reaches a bind."""
    from listener.config.http import place  # noqa: PLC0415

    host, port = place(bind)
    if port == 0:
        raise NotPossible(
            f"http.bind {bind}: a free port was taken; its log names it (http.listening): give it as --url"
        )
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- where it listens, not where we ask
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _asked(url: str, settings: "Http") -> Status:
    """
    Ask for all that is shown.

    Raises:
        NotPossible: nobody answers, or not with what was asked.
    """
    try:
        ready = _get(url, "/health/ready", settings)
        found: Status = {"ready": ready["data"]["ready"], "reasons": ready["data"]["reasons"]}
        try:
            return {**found, **_get(url, "/api/status", settings)["data"]}
        except _NothingThere:  # an attester, which has no journal
            return {**found, "chains": [], "tasks": {}, "errors": []}
    except (KeyError, TypeError):
        raise NotPossible(f"{url}: what answers there is no daemon, or has no time; try again, or give --url") from None


def _get(url: str, path: str, settings: "Http") -> Any:
    headers = {} if settings.token is None else {"Authorization": f"Bearer {settings.token.get_secret_value()}"}
    try:
        request = urllib.request.Request(url + path, headers=headers)  # noqa: S310 -- what the operator gave
        # No proxy, whatever the environment says: the token is for the daemon alone.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())
        try:
            with opener.open(request, timeout=TIMEOUT_S) as answer:
                text = answer.read()
        except urllib.error.HTTPError as refused:
            text = refused.read()
            if not (refused.code == 503 and path.startswith("/health/")):
                kind = _NothingThere if refused.code == 404 else NotPossible
                raise kind(f"{url}{path}: HTTP {refused.code}: {_message(text)}") from None
        return json_.loads(text)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        said = " ".join(str(getattr(reason, "strerror", None) or reason).split()) or type(reason).__name__
        raise NotPossible(
            f"{url}: no daemon answers there: {said}; start it with `listener run`, or give --url"
        ) from None


class _NothingThere(NotPossible):
    """The path is not served."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any) -> None:
        """Follow none: whoever sends us elsewhere is no daemon of ours."""


def _message(text: bytes) -> str:
    try:
        said = json_.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        return "not an answer of a daemon"
    return str(said)


def _print_lines(url: str, settings: "Http", *, again: bool) -> None:
    while True:
        sys.stdout.write(json_.dumps(_asked(url, settings)) + "\n")
        sys.stdout.flush()
        if not again:
            return
        time.sleep(EVERY_S)


def _watch(url: str, settings: "Http") -> None:
    """Show it anew until Ctrl-C; a daemon that is away for a while is waited for."""
    from rich.live import Live  # noqa: PLC0415

    with Live(_shown(_asked(url, settings)), auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_S)
            try:
                live.update(_shown(_asked(url, settings)), refresh=True)
            except NotPossible as error:
                live.update(str(error), refresh=True)


def _shown(found: Status) -> "Group":
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    parts: list[Any] = [Text("ready" if found["ready"] else "not ready")]
    parts += [Text(f"  {reason}") for reason in found["reasons"]]
    chains = Table(*CHAINS, box=None)
    for chain in found["chains"]:
        chains.add_row(*(_cell(chain[name]) for name in CHAINS))
    tasks = Table("rule", "state", "tasks", box=None)
    for rule, states in found["tasks"].items():
        for state, count in states.items():
            tasks.add_row(_cell(rule), state, str(count))
    errors = Table(*ERRORS, box=None)
    for row in found["errors"]:
        errors.add_row(*(_cell(row[name]) for name in ERRORS))
    parts += ["", chains, "", tasks]
    if found["errors"]:
        parts += ["", Text("The last errors:"), errors]
    return Group(*parts)


def _cell(value: Any) -> Any:
    from rich.text import Text  # noqa: PLC0415

    return Text("" if value is None else str(value))  # an error's brackets are no markup

"""``[journal]``: where tasks are remembered."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from listener.config.duration import Duration
from listener.config.surroundings import Surroundings
from listener.config.url import AnyUrl, Url
from listener.rules.table import Table

_SQLITE = "sqlite:///"


def _on_disk(url: Url, info: ValidationInfo) -> Url:
    """Make the path of a SQLite file absolute; without one it would stand in memory, and forget."""
    text = url.get_secret_value()
    if url.scheme.startswith("postgres"):
        raise ValueError(f"{url.scheme}://…: not available yet; write sqlite:///listener.db")
    if not text.startswith(_SQLITE) or text.removeprefix(_SQLITE) in ("", ":memory:"):
        raise ValueError("the journal needs a file; write sqlite:///listener.db")
    path = Surroundings.of(info).folder / text.removeprefix(_SQLITE)
    return Url(f"{_SQLITE}{path.absolute()}")


class Journal(Table):
    """The journal's place, and how long rows stay in it."""

    url: Annotated[AnyUrl, AfterValidator(_on_disk)] = Url("sqlite:///listener.db")
    keep: Duration | None = None  # how long after its end a row stays; None: for ever

    @property
    def path(self) -> Path:
        """The SQLite file, absolute; its lock stands beside it."""
        return Path(self.url.get_secret_value().removeprefix(_SQLITE))

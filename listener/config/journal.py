"""``[journal]``: where tasks are remembered."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ValidationInfo

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
    """The journal's place."""

    not_yet: ClassVar[frozenset[str]] = frozenset({"keep"})

    url: Annotated[AnyUrl, AfterValidator(_on_disk)] = Url("sqlite:///listener.db")

    @property
    def path(self) -> Path:
        """The SQLite file, absolute; its lock stands beside it."""
        return Path(self.url.get_secret_value().removeprefix(_SQLITE))

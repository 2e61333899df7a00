"""``[journal]``: where tasks are remembered."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from listener.config.duration import Duration
from listener.config.surroundings import Surroundings
from listener.config.url import AnyUrl, Url, server
from listener.errors import ConfigError
from listener.rules.table import Table

_SQLITE = "sqlite:///"
_POSTGRESQL = ("postgresql", "postgres")


def _placed(url: Url, info: ValidationInfo) -> Url:
    """Make the path of a SQLite file absolute; without one it would stand in memory, and forget."""
    text = url.get_secret_value()
    if url.scheme in _POSTGRESQL:
        return server(url)
    if not text.startswith(_SQLITE) or text.removeprefix(_SQLITE) in ("", ":memory:"):
        raise ValueError("the journal needs a file or a server; write sqlite:///listener.db or postgresql://…")
    path = Surroundings.of(info).folder / text.removeprefix(_SQLITE)
    return Url(f"{_SQLITE}{path.absolute()}")


class Journal(Table):
    """The journal's place, and how long rows stay in it."""

    url: Annotated[AnyUrl, AfterValidator(_placed)] = Url("sqlite:///listener.db")
    keep: Duration | None = None  # how long after its end a row stays; None: for ever

    @property
    def place(self) -> Path | Url:
        """Where it is: the SQLite file, absolute, or the URL of a PostgreSQL database."""
        return self.url if self.url.scheme in _POSTGRESQL else self.path

    @property
    def path(self) -> Path:
        """
        The SQLite file, absolute; its lock stands beside it.

        Raises:
            ConfigError: the journal is no file.
        """
        if self.url.scheme in _POSTGRESQL:
            raise ConfigError(
                f"journal {self.url.redacted}: it is no file; use PostgreSQL's own tools, such as pg_dump"
            )
        return Path(self.url.get_secret_value().removeprefix(_SQLITE))

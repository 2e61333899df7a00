"""From a file and an environment to a ``Config``: read once, refused whole."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from listener.config import environment, problem
from listener.config.config import Config
from listener.config.surroundings import Surroundings
from listener.errors import ConfigError

PERFORMERS = frozenset({"performer", "aggregator", "journal"})  # tables


def load(path: Path, environ: Mapping[str, str], *, require_key: bool = True, performs: bool = True) -> Config:
    """
    Read ``config.toml``.

    Args:
        path: the file; relative paths in it start at its folder.
        environ: variables that it refers to, and that override it.
        require_key: False lets a key pass whose variable or file is not there; it is None then.
        performs: False for an attester, of whose file the tables of a performer are not read: it has no use for a
            key, an aggregator and a journal, and what it does not hold cannot leak from it.

    Raises:
        ConfigError: one line for each problem found.
    """
    document = _document(path)
    problems = environment.apply(document, environ)
    if not performs:
        document = {name: table for name, table in document.items() if name not in PERFORMERS}
    around = Surroundings(path.absolute().parent, environ, require_key, performs)
    try:
        config = Config.model_validate(document, context=around)
    except ValidationError as error:
        problems += problem.lines(error, document)
    if problems:
        # No "from": pydantic's own report would only say the same again, in more lines.
        raise ConfigError("\n".join(f"{path}: {line}" for line in problems))
    return config


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name the file with --config PATH") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error

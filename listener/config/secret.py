"""Values that stand elsewhere: ``{ env = "NAME" }`` and ``{ file = "PATH" }``."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from listener.config.surroundings import Surroundings
from listener.rules.nearest import suggestion

_REFERENCES = ("env", "file")
_NOT_YET = ("keystore", "password_file")
_GUARDED = ("/run/secrets", "/var/run/secrets")  # where container platforms mount secrets, often with mode 0444


class Absent(ValueError):
    """The variable or the file that a reference names is not there."""


def resolved(value: Any, around: Surroundings, *, is_key: bool = False) -> Any:
    """
    Give the text that a reference leads to; anything else as it is.

    Raises:
        Absent: the variable or the file is not there.
        ValueError: the reference is malformed, or its file must not be used as it is.
    """
    if not isinstance(value, Mapping):
        return value
    for key in value:
        if key in _NOT_YET:
            raise ValueError(f"{key}: not available yet")
        if key not in _REFERENCES:
            raise ValueError(f'unknown key "{key}"{suggestion(key, _REFERENCES)}')
    if len(value) != 1 or not all(isinstance(name, str) and name for name in value.values()):
        raise ValueError('write { env = "NAME" } or { file = "PATH" }')
    ((kind, name),) = value.items()
    return _from_environment(name, around) if kind == "env" else _from_file(name, around, is_key=is_key)


def secret(value: Any, around: Surroundings) -> Any:
    """
    Give the text of a secret, written out or by reference; None where it is not there and nobody asks for it.

    Raises:
        Absent: it is not there.
        ValueError: as ``resolved``.
    """
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    try:
        return resolved(value, around, is_key=True)
    except Absent:
        if around.require_key:
            raise
        return None


def _from_environment(name: str, around: Surroundings) -> str:
    text = around.environ.get(name, "").strip()
    if not text:
        raise Absent(f"environment variable {name} is not set; export {name}=…")
    return text


def _from_file(name: str, around: Surroundings, *, is_key: bool) -> str:
    path = around.folder / Path(name).expanduser()
    if is_key and path.is_file() and _is_open_to_all(path, around.environ):
        raise ValueError(f"{path} can be read by everyone on this machine; run: chmod 600 {path}")
    try:
        text = path.read_text().strip()
    except FileNotFoundError as error:
        raise Absent(f"no file {path}; write the value into it") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ValueError(f"{path} cannot be read: {reason}") from error
    if not text:
        raise ValueError(f"{path} is empty; write the value into it")
    return text


def _is_open_to_all(path: Path, environ: Mapping[str, str]) -> bool:
    """Tell whether anyone may read a file, unless the platform guards the place where it stands."""
    if not path.stat().st_mode & stat.S_IROTH:
        return False
    guarded = [Path(place) for place in (*_GUARDED, environ.get("CREDENTIALS_DIRECTORY", "")) if place]
    if any(path.absolute().is_relative_to(place) for place in guarded):
        return False
    return not os.statvfs(path).f_flag & os.ST_RDONLY

"""Names of rules, chains and contracts: they stand in logs, metrics, task keys and environment variables."""

import re
from typing import Annotated

import orjson
from pydantic import AfterValidator

_TEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def _name(value: str) -> str:
    if _TEXT.fullmatch(value) is None:
        raise ValueError(
            f'{orjson.dumps(value[:64]).decode()} is not a name; use up to 64 letters, digits, "_", "." and "-"'
        )
    return value


Name = Annotated[str, AfterValidator(_name)]

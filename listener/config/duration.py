"""Durations as text: a number and s, m, h or d."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

_TEXT = re.compile(r"(\d{1,9})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    found = _TEXT.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[1]) == 0:
        shown = f'"{value}"' if isinstance(value, str) else value
        raise ValueError(f'{shown} is not a duration; write a number from 1 and s, m, h or d, such as "10m"')
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError as error:
        raise ValueError(f'"{value}" is longer than any clock runs') from error


Duration = Annotated[timedelta, BeforeValidator(_duration)]

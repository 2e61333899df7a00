"""``[logs]``: what is logged, and how it looks."""

from typing import Literal

from listener.rules.table import Table


class Logs(Table):
    """The daemon's log on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"  # auto: text on a terminal, JSON elsewhere

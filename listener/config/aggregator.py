"""``[aggregator]``: the node that takes ``sendTask``."""

from datetime import timedelta

from pydantic import Field

from listener.config.duration import Duration
from listener.config.url import HttpUrl
from listener.rules.table import LARGEST, Table


class Aggregator(Table):
    """Where tasks are sent, and how long we keep trying."""

    url: HttpUrl
    timeout_s: float = Field(default=5, gt=0)  # one request
    in_flight: int = Field(default=32, ge=1, le=10_000)  # requests at a time
    give_up_after: Duration = timedelta(hours=1)
    target_chain_id: int | None = Field(default=None, ge=1, le=LARGEST)  # sends the 6th and 7th parameters

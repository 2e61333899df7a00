"""``[chains.NAME]``: a network to follow."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from listener.config.duration import Duration
from listener.config.hold import Held
from listener.config.name import Name
from listener.config.url import EndpointUrl, Url
from listener.rules.table import LARGEST


def _start(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST
    if value != "latest" and not is_number:
        shown = f'"{value}"' if isinstance(value, str) else value
        raise ValueError(f'{shown} is no place to start; write "latest" or a block number')
    return value


def _at_least_one(endpoints: tuple[Url, ...]) -> tuple[Url, ...]:
    if not endpoints:
        raise ValueError('write at least one endpoint, such as ["ws://127.0.0.1:8545"]')
    return endpoints


class Chain(Held):
    """A network, and what its rules wait for by default."""

    given: ClassVar[frozenset[str]] = frozenset({"name"})

    name: Name
    endpoints: Annotated[tuple[EndpointUrl, ...], Field(strict=False), AfterValidator(_at_least_one)]
    chain_id: int = Field(ge=1, le=LARGEST)
    start: Annotated[int | Literal["latest"], BeforeValidator(_start)] = "latest"  # on the first run only
    final_after: int = Field(default=64, ge=1, le=LARGEST)  # blocks, where an endpoint knows no finalized block
    silence: Duration = timedelta(seconds=30)  # without a head for so long, a socket is checked
    max_lag: Duration = timedelta(minutes=1)  # an endpoint further behind the best head is not asked
    quorum: int = Field(default=1, ge=1)  # endpoints that must agree on a block's hash and logs
    bloom: bool = True  # whether a header's bloom may spare the question for its logs

    @model_validator(mode="after")
    def _enough_endpoints(self) -> "Chain":
        if self.quorum > len(self.endpoints):
            raise ValueError(
                f"quorum = {self.quorum} needs as many endpoints, and there are {len(self.endpoints)}; "
                f"add endpoints of other nodes, or lower it"
            )
        return self

"""``[attestation]``: the contract that knows the operators and settles tasks."""

from datetime import timedelta

from listener.config.address import Address
from listener.config.duration import Duration
from listener.rules.table import Table


class Attestation(Table):
    """Where the attestation contract stands."""

    chain: str | None = None  # None: the only chain
    address: Address
    deadline: Duration = timedelta(hours=1)  # a task without an outcome for so long is unknown

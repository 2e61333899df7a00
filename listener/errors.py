"""
Every error of the project, sorted by what is to be done about it.

    ListenerError ─┬─ ConfigError            tell the operator, exit 2
                   ├─ NotAvailable           a part that is not built yet, exit 1
                   ├─ NotPossible            the state of a task or of the journal forbids it, exit 1
                   ├─ JournalError           cannot remember: stop, exit 1
                   ├─ BindFailed             cannot listen: stop, exit 1
                   ├─ StageEnded             a stage returned unasked: stop, exit 1
                   ├─ ChainHalted            the chain left us: that chain waits, the others go on
                   ├─ TransientError         try again: ChainUnavailable, AggregatorUnavailable, AggregatorDeclined,
                   │                        Overtaken, FetchFailed
                   ├─ ProofError             execute or judge again: ProofUnavailable. One kind of it is the claim's own
                   │                        fault, and a validator rejects it: ProofRejected, ProofNotFound
                   ├─ HandlerFailed          execute again, then Task → failed, go on: HandlerTimeout, BadTaskResult,
                   │                        BadBody
                   ├─ ElectionFailed         whose turn it is cannot be known now: try again, it is no attempt
                   └─ AggregatorRefused      permanent: Task → failed, go on

Edges turn driver errors into these with ``raise … from``. A message names the thing, the value and the next step.
"""


class ListenerError(Exception):
    """The root; never raised itself."""


def expected_fault(error: BaseException) -> ListenerError | None:
    """Find the error that is meant for the operator, in whatever groups it came; None when there is a bug to see."""
    if isinstance(error, BaseExceptionGroup):
        found = [expected_fault(part) for part in error.exceptions]
        return found[0] if all(found) else None
    return error if isinstance(error, ListenerError) else None


class ConfigError(ListenerError):
    """What the operator wrote cannot be used."""


class NotAvailable(ListenerError):
    """A command or a part that is not available yet."""


class NotPossible(ListenerError):
    """What an operator asks for cannot be done in the present state of a task or of the journal."""


class JournalError(ListenerError):
    """The journal cannot be opened, read or written."""


class BindFailed(ListenerError):
    """A port for the HTTP server is taken, or its address is not this machine's."""


class StageEnded(ListenerError):
    """A stage returned before it was asked to stop."""


class ChainHalted(ListenerError):
    """A chain no longer holds the cursor's history down to its final block."""


class TransientError(ListenerError):
    """The same call may succeed later."""


class ChainUnavailable(TransientError):
    """No endpoint of a chain answered."""


class Overtaken(TransientError):
    """Another process moved a chain's cursor: nothing was written, and the walk goes on from there."""


class AggregatorUnavailable(TransientError):
    """The aggregator did not answer, or not with JSON-RPC: nothing gets through at present."""


class AggregatorDeclined(TransientError):
    """The aggregator answered with an error for this task that may pass."""


class ProofError(ListenerError):
    """A proof could not be stored, or not be read."""


class ProofUnavailable(ProofError):
    """Nobody could be asked, or not everybody answered: it may be there, and a validator is *unsure*."""


class ProofRejected(ProofError):
    """What the proof names is no proof: no CID, not what its CID says, or not JSON. A validator rejects it."""


class ProofNotFound(ProofRejected):
    """All who were asked answered that they have it not, or gave something else."""


class FetchFailed(TransientError):
    """A URL that others chose gave no answer that can be used; ``is_ours``: because our own network is away."""

    def __init__(self, message: str, *, is_ours: bool = False) -> None:
        super().__init__(message)
        self.is_ours = is_ours


class HandlerFailed(ListenerError):
    """A handler raised, or its module cannot run this task."""


class HandlerTimeout(HandlerFailed):
    """A handler did not return within its rule's ``timeout_s``."""


class BadTaskResult(HandlerFailed):
    """A handler returned something that must not be signed."""


class BadBody(HandlerFailed):
    """What a request says does not fit the task module's ``Body``."""


class ElectionFailed(ListenerError):
    """Who is elected could not be read; that is never the same as not being elected."""


class AggregatorRefused(ListenerError):
    """The aggregator named an error that the same bytes can never pass."""

"""Notes for traces, of what the runner did: executions, self-checks, elections, signatures."""

from collections.abc import Sequence

from listener.errors import ElectionFailed
from listener.journal import Signed, now_us
from listener.logs import redacted
from listener.runner.execution import Outcome
from listener.traces import Note, Notebook

_SECOND = 1_000_000


def note_execution(notebook: Notebook, outcomes: Sequence[Outcome], ended: int) -> None:
    """Note what has been executed until a moment."""
    for outcome in outcomes:
        checked = int(outcome.checked_s * _SECOND)
        error = None if outcome.failure is None else redacted(str(outcome.failure))
        said = "failed" if error is not None else outcome.skipped if outcome.result is None else "result"
        elected = outcome.executed and not isinstance(outcome.failure, ElectionFailed)
        notebook.add(
            Note(
                task=outcome.task.id,
                name="execute" if elected else "elect",
                began=ended - int(outcome.took_s * _SECOND),
                ended=ended - checked,
                said="result" if checked else said,
                error=None if checked else error,
                attempt=outcome.task.attempt,
            )
        )
        if checked:
            notebook.add(
                Note(
                    task=outcome.task.id,
                    name="self-check",
                    began=ended - checked,
                    ended=ended,
                    said="approved" if error is None else "refused",
                    error=error,
                    attempt=outcome.task.attempt,
                )
            )


def note_signing(notebook: Notebook, signed: Sequence[Signed], began: int) -> None:
    """Note which results have been signed and made durable by now."""
    now = now_us()
    for item in signed:
        notebook.add(Note(task=item.task.id, name="sign", began=began, ended=now))

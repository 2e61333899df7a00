"""
Notes for traces: what the stages say of a task's steps once they are over.

Where traces are not configured nothing is kept, and a task costs nothing but the look whether they are. ``tracer.py``
makes spans of the notes; this module knows no OpenTelemetry, so that whoever notes something does not load it.
"""

from dataclasses import dataclass

MOST = 100_000  # notes that wait; what comes on top is dropped, for traces must not fill the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One step of a task, in microseconds since the epoch. Without a ``name`` it says only that the task has ended."""

    task: int
    name: str | None = None
    began: int = 0
    ended: int = 0
    said: str = ""  # what came of it
    error: str | None = None  # without secrets; None where it went well
    attempt: int | None = None
    is_last: bool = False  # the task has come to its end with it


class Notebook:
    """Notes in the order they were made. Used on the stages' loop alone."""

    def __init__(self) -> None:
        self.dropped = 0
        self._notes: list[Note] = []

    def add(self, note: Note) -> None:
        """Keep a note where there is room."""
        if len(self._notes) < MOST:
            self._notes.append(note)
        else:
            self.dropped += 1

    def take(self, most: int) -> list[Note]:
        """Return the oldest notes, and forget them."""
        taken, self._notes = self._notes[:most], self._notes[most:]
        return taken


notebook: Notebook | None = None  # None: traces are not configured


def open_notebook() -> Notebook:
    """Have notes kept from now on."""
    global notebook  # noqa: PLW0603 - there is one for the process, as there is one log
    notebook = Notebook()
    return notebook


def close_notebook() -> None:
    """Keep no notes any longer."""
    global notebook  # noqa: PLW0603
    notebook = None


def end(task: int) -> None:
    """Note that a task has come to its end."""
    if notebook is not None:
        notebook.add(Note(task=task, is_last=True))

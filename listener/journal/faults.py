"""What the database's own complaints mean to an operator, and what to do about them."""

from pathlib import Path

from listener.errors import JournalError

# Words of SQLite's messages, and what they call for. What is not here speaks for itself.
_REMEDIES = (
    ("disk is full", "make room, and start again: nothing that was acknowledged is lost"),
    ("disk i/o error", "its disk is full, over a quota or failing; mend that, and start again"),
    ("is locked", "another program holds its write lock, such as a shell or a copying tool; end that, and start again"),
    ("malformed", "the file is damaged; copy it away, and restore a backup with `listener journal restore FILE`"),
    ("not a database", "the file is damaged, or is no journal; look at journal.url, or restore a backup"),
    ("readonly", "this user may not write to the file or its folder"),
    ("unable to open", "this user may not read and write the file and its folder, or the folder is not there"),
)


def explained(error: Exception, place: Path | str | None, so: str = "") -> JournalError:
    """Make an error for the operator of one of the database's: which journal, what it said, so what, and what to do."""
    said = str(getattr(error, "orig", None) or error).splitlines()[0]
    remedy = next((f"; {remedy}" for words, remedy in _REMEDIES if words in said.lower()), "")
    return JournalError(f"journal {place}: {said}{so and '; '}{so}{remedy}")

"""What to suggest when a word is not one of the known ones."""

from collections.abc import Iterable
from difflib import SequenceMatcher

LIKE = 0.6  # from here on two words look like one with a slip of the pen; difflib's own choice
MOST_LISTED = 8  # more names than this hide the one that is meant


def suggestion(word: str, known: Iterable[str]) -> str:
    """
    End a message about an unknown word.

    Returns:
        "; did you mean X?", else the known words, those nearest to it first.
    """
    names = sorted(set(known), key=lambda name: (-_likeness(word, name), name))
    if not names:
        return "; there is none"
    if _likeness(word, names[0]) >= LIKE:
        return f"; did you mean {names[0]}?"
    more = "" if len(names) <= MOST_LISTED else f" and {len(names) - MOST_LISTED} more"
    return f"; known: {', '.join(names[:MOST_LISTED])}{more}"


def _likeness(word: str, name: str) -> float:
    return SequenceMatcher(None, word.lower(), name.lower()).ratio()

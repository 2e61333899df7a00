"""
The journal as the stages see it: one awaitable method per thing that they write, and a wake-up for who waits.

Every write goes through the one writer thread; what must survive a power cut before the outside relies on it is
``durable``. One process owns a SQLite journal, so claims live in memory. Several may share one on PostgreSQL: there
claims are rows with an end, renewed while they are held, and chains are walked on by whoever is first.
"""

from listener.journal.sides.asking import AskingSide
from listener.journal.sides.follower import FollowerSide
from listener.journal.sides.keeper import KeeperSide
from listener.journal.sides.runner import RunnerSide
from listener.journal.sides.start import StartSide
from listener.journal.sides.submitter import SubmitterSide


class Journal(StartSide, FollowerSide, AskingSide, RunnerSide, SubmitterSide, KeeperSide):
    """An open journal: each of its users finds what it does with it on its own side, in ``sides/``."""

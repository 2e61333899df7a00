"""Follows one chain: turns heads into steps of the journal."""

from listener.follower.follower import Follower
from listener.follower.rewind import rewind

__all__ = ["Follower", "rewind"]

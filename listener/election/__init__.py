"""Who performs a task: elections, and what they read of the attestation contract."""

from listener.election.elections import Elections, election_of

__all__ = ["Elections", "election_of"]

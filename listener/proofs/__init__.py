"""Proofs of tasks: written as canonical JSON, known by their CID, kept where the operator says, and verified by all."""

from listener.proofs.inline import Inline
from listener.proofs.opening import Opened, opened
from listener.proofs.store import LookUp, Store

__all__ = ["Inline", "LookUp", "Opened", "Store", "opened"]

"""From ``[proofs]`` to what handlers get."""

from dataclasses import dataclass

from listener import config
from listener.model import Proofs
from listener.proofs.folder import Folder
from listener.proofs.inline import Inline
from listener.proofs.store import LookUp, Store


@dataclass(frozen=True, slots=True)
class Opened:
    """A store as each of its users needs it."""

    proofs: Proofs  # of an execution
    looked_up: Proofs  # of a judgement: it stores nothing
    folder: Folder | None  # where proofs are kept as files, to be served


def opened(settings: config.Proofs) -> Opened:
    """Make the store; it connects to nobody and makes no folder before the first proof."""
    if settings.backend == "inline":
        inline = Inline(settings.max_bytes)
        return Opened(inline, inline, None)
    folder = Folder(settings.folder)
    store = Store(folder, cid_version=settings.cid_version, timeout_s=settings.timeout_s, max_bytes=settings.max_bytes)
    return Opened(store, LookUp(store), folder)

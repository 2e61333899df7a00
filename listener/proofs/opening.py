"""From ``[proofs]`` to what handlers get."""

from dataclasses import dataclass

from listener import config
from listener.model import Proofs
from listener.proofs.folder import Folder
from listener.proofs.inline import Inline
from listener.proofs.source import Backend, Source
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
    backend = _backend(settings)
    store = Store(
        backend,
        _gateways(settings),
        cid_version=settings.cid_version,
        timeout_s=settings.timeout_s,
        max_bytes=settings.max_bytes,
    )
    return Opened(store, LookUp(store), backend if isinstance(backend, Folder) else None)


def _backend(settings: config.Proofs) -> Backend:
    # Imported where they are wanted: most daemons keep their proofs themselves.
    if settings.backend == "kubo":
        from listener.proofs.kubo import Kubo  # noqa: PLC0415

        return Kubo(settings.service, None if settings.token is None else settings.token.get_secret_value())
    if settings.backend == "pinata":
        from listener.proofs.pinata import Pinata  # noqa: PLC0415

        return Pinata(settings.service, settings.pinata_headers)
    return Folder(settings.folder)


def _gateways(settings: config.Proofs) -> list[Source]:
    if not settings.gateways:
        return []
    from listener.proofs.gateway import Gateway  # noqa: PLC0415

    return [Gateway(url) for url in settings.gateways]

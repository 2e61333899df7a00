"""An HTTP service on loopback, as the local network has several."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from aiohttp import web

from listener.devnet.anvil import HOST


class Service(ABC):
    """Answers whatever is asked; use it as an async context manager. Port 0 takes a free one."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @abstractmethod
    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""

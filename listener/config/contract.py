"""``[contracts.NAME]``: an address, and the ABI that says what its logs mean."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from listener.config.address import Address
from listener.config.name import Name
from listener.config.surroundings import FilePath
from listener.errors import ConfigError
from listener.rules.abi import EventAbi, find_event
from listener.rules.table import Table


class Contract(Table):
    """A contract whose events rules may wait for."""

    given: ClassVar[frozenset[str]] = frozenset({"name"})

    name: Name
    chain: str | None = None  # None: the only chain
    address: Address
    abi: FilePath

    def event(self, wanted: str) -> EventAbi:
        """
        Look an event up in the ABI file.

        Raises:
            ConfigError: the file cannot be used, or has no such event.
        """
        return find_event(self._entries(), wanted, source=str(self.abi))

    def _entries(self) -> Sequence[Any]:
        """Read the file: an ABI alone, or a compiler's artifact that holds one."""
        place = f"contracts.{self.name}.abi"
        try:
            found = json.loads(self.abi.read_bytes())
        except OSError as error:
            raise ConfigError(f"{place}: {self.abi}: {error.strerror}{self._neighbours()}") from error
        except ValueError as error:  # not UTF-8 counts too
            raise ConfigError(f"{place}: {self.abi} is not JSON: {error}") from error
        entries = found.get("abi") if isinstance(found, dict) else found
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ConfigError(f'{place}: {self.abi} is not an ABI: write a JSON array, or an object with "abi"')
        return entries

    def _neighbours(self) -> str:
        names = sorted(path.name for path in self.abi.parent.glob("*.json"))
        return f"; {self.abi.parent} holds: {', '.join(names)}" if names else ""

"""``[proofs]``: where proofs of tasks are kept, and who else may have one."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from listener.config.surroundings import FilePath
from listener.rules.table import Table


class Proofs(Table):
    """The proof store."""

    backend: Literal["local", "inline"] = "local"
    folder: FilePath = Path("proofs")  # of the local store
    cid_version: Literal[0, 1] = 1  # of the CIDs that are given; both are read
    timeout_s: float = Field(default=10, gt=0, le=3600)  # for one put or get, with all its repetitions
    max_bytes: int = Field(default=1_048_576, ge=1, le=2**26)  # of one proof

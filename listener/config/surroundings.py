"""What a configuration is read with beside its own text: the folder it stands in and the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Handed to the models as pydantic's validation context."""

    folder: Path = field(default_factory=Path)  # relative paths start here
    environ: Mapping[str, str] = field(default_factory=dict)
    require_key: bool = True  # False: a key whose variable or file is not there is left out
    performs: bool = True  # False: an attester's, which neither signs nor sends

    @classmethod
    def of(cls, info: ValidationInfo) -> "Surroundings":
        """Give those of a validation; a model that is built by hand has none."""
        return info.context if isinstance(info.context, cls) else cls()


def _from_folder(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str | Path):
        raise ValueError("write a path in quotes")  # noqa: TRY004 -- the operator's value, not a call
    return Surroundings.of(info).folder / Path(value).expanduser()


FilePath = Annotated[Path, Field(strict=False), BeforeValidator(_from_folder)]

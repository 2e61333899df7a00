"""``[proofs]``: where proofs of tasks are kept, and who else may have one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, model_validator

from listener.config.secret import secret
from listener.config.surroundings import FilePath, Surroundings
from listener.config.url import HttpUrl, Url
from listener.rules.table import Table

_SERVICES = {"kubo": "http://127.0.0.1:5001", "pinata": "https://api.pinata.cloud"}
_CREDENTIALS = ("token", "key", "secret")
_FOR = {"folder": ("local",), "url": ("kubo", "pinata"), "token": ("kubo", "pinata"), "key": ("pinata",)}
_FOR["secret"] = _FOR["key"]
_MOST = 4096  # characters of a header


def _credential(value: Any, info: ValidationInfo) -> Any:
    text = secret(value, Surroundings.of(info))
    if text is not None and not (isinstance(text, str) and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("it is no credential: ASCII without spaces is needed")
    if text is not None and not 8 <= len(text) <= _MOST:
        raise ValueError(f"it is no credential: it has {len(text)} characters")
    return text


Credential = Annotated[SecretStr | None, BeforeValidator(_credential)]


class Proofs(Table):
    """The proof store."""

    backend: Literal["local", "kubo", "pinata", "inline"] = "local"
    folder: FilePath = Path("proofs")  # of the local store
    url: HttpUrl | None = None  # of kubo's RPC API, or Pinata's API; None: where it is by default
    token: Credential = None  # Pinata's JWT, or kubo's bearer token
    key: Credential = None  # Pinata's older pair
    secret: Credential = None
    gateways: Annotated[tuple[HttpUrl, ...], Field(strict=False)] = ()  # asked for what is not there
    cid_version: Literal[0, 1] = 1  # of the CIDs that are given; both are read
    timeout_s: float = Field(default=10, gt=0, le=3600)  # for one put or get, with all its repetitions
    max_bytes: int = Field(default=1_048_576, ge=1, le=2**26)  # of one proof

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, data: Any, info: ValidationInfo) -> Any:
        """Forget who we are at Pinata where nothing is kept there: an attester reads, and over gateways."""
        if isinstance(data, Mapping) and not Surroundings.of(info).performs and data.get("backend") == "pinata":
            return {key: value for key, value in data.items() if key not in _CREDENTIALS}
        return data

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> "Proofs":
        around = Surroundings.of(info)
        lines = list(self._without_use())
        if self.backend == "pinata" and around.performs and around.require_key and not self.pinata_headers:
            lines.append('token is missing; write token = { env = "PINATA_JWT" }, or key and secret')
        if lines:
            raise ValueError("\n".join(lines))
        return self

    @property
    def service(self) -> Url:
        """Where kubo or Pinata answers."""
        return self.url or Url(_SERVICES[self.backend])

    @property
    def pinata_headers(self) -> dict[str, str]:
        """What tells Pinata who we are; empty where that is not known."""
        if self.token is not None:
            return {"Authorization": f"Bearer {self.token.get_secret_value()}"}
        if self.key is None or self.secret is None:
            return {}
        return {
            "pinata_api_key": self.key.get_secret_value(),
            "pinata_secret_api_key": self.secret.get_secret_value(),
        }

    @property
    def secrets(self) -> list[str]:
        """Every text in it that no log line may show."""
        urls = [*self.gateways] if self.url is None else [self.url, *self.gateways]
        given = [each.get_secret_value() for each in (self.token, self.key, self.secret) if each is not None]
        return [*given, *(found for url in urls for found in url.secrets)]

    def _without_use(self) -> Iterator[str]:
        for key in self.model_fields_set:
            if key in _FOR and self.backend not in _FOR[key]:
                yield f'{key} has no meaning with backend = "{self.backend}"; leave it out'
        if self.gateways and self.backend == "inline":
            yield 'gateways have no meaning with backend = "inline"; leave them out'

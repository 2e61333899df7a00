"""``[http]``: where the daemon is asked, by whom, and how much."""

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, model_validator

from listener.config.secret import secret
from listener.config.surroundings import Surroundings
from listener.rules.table import Table

_BIND = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]+):(\d{1,5})")
_TOKEN = re.compile(r"[!-~]{8,4096}")  # what a header can carry; shorter ones are guessed, and would blot out log lines


def place(bind: str) -> tuple[str, int]:
    """
    Take a bind apart: the IP address, without brackets, and the port.

    Raises:
        ValueError: it is none.
    """
    found = _BIND.fullmatch(bind)
    if found is None or int(found[2]) > 65535:
        raise ValueError(
            f'"{bind}" is no place to listen; write ADDRESS:PORT, such as "127.0.0.1:4003" or "[::1]:4003"'
        )
    host = "127.0.0.1" if found[1] == "localhost" else found[1].strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f'"{found[1]}" is not an IP address; write one, such as 127.0.0.1 or 0.0.0.0') from None
    if (address.version == 6) != found[1].startswith("["):
        raise ValueError(f'"{bind}": brackets stand around IPv6 addresses, and only there: "[::1]:4003"')
    return host, int(found[2])


def is_loopback(bind: str) -> bool:
    """Tell whether only this machine can reach a bind."""
    return ipaddress.ip_address(place(bind)[0]).is_loopback


def _bind(value: str) -> str:
    place(value)
    return value


def _token(value: Any, info: ValidationInfo) -> Any:
    text = secret(value, Surroundings.of(info))
    if text is not None and (not isinstance(text, str) or _TOKEN.fullmatch(text) is None):
        raise ValueError("a token is 8 to 4096 characters of ASCII without spaces; make one: openssl rand -hex 32")
    return text


Bind = Annotated[str, AfterValidator(_bind)]


class Http(Table):
    """The HTTP server; each limit holds on each of the two binds by itself."""

    bind: Bind = "127.0.0.1:4003"
    validate_bind: Bind | None = None  # for attester nodes: without a token, and with nothing else on it
    token: Annotated[SecretStr | None, BeforeValidator(_token)] = None
    healthcheck: bool = False  # whether /healthcheck is answered: GET, and of a performer JSON-RPC too
    max_body_bytes: int = Field(default=262_144, ge=1, le=2**30)
    max_requests: int = Field(default=128, ge=1, le=10_000)  # in hand at a time; health and metrics do not count
    max_connections: int = Field(default=256, ge=1, le=100_000)
    requests_per_s: int = Field(default=5_000, ge=1, le=1_000_000)  # of one client's address, and as many at once
    read_timeout_s: float = Field(default=10, gt=0, le=3600)  # for a request's head, and again for its body
    wait_s: float = Field(default=30, gt=0, le=3600)  # the longest that /task/execute?wait=true waits

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> "Http":
        if self.token is None and not is_loopback(self.bind) and Surroundings.of(info).require_key:
            raise ValueError(
                f"bind {self.bind} is reached from other machines, and that needs a token: "
                'write token = { env = "LISTENER_TOKEN" }, or bind = "127.0.0.1:4003"'
            )
        if self.bind == self.validate_bind and place(self.bind)[1]:
            raise ValueError(f"validate_bind {self.bind} is bind itself; leave it out: bind serves /task/validate too")
        return self

"""
What the environment says about a configuration.

``LISTENER__TABLE__KEY`` overrides what is written; the variables of the stack's own examples fill what is left open, so
that a compose file made for those examples can switch the image.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, Secret, SecretStr

from listener.config.aggregator import Aggregator
from listener.config.attestation import Attestation
from listener.config.chain import Chain
from listener.config.contract import Contract
from listener.config.http import Http
from listener.config.journal import Journal
from listener.config.logs import Logs
from listener.config.performer import Performer
from listener.config.proofs import Proofs
from listener.rules.nearest import suggestion
from listener.rules.table import Table

PREFIX = "LISTENER__"
_TABLES: Mapping[str, type[Table]] = {
    "performer": Performer,
    "aggregator": Aggregator,
    "attestation": Attestation,
    "journal": Journal,
    "http": Http,
    "proofs": Proofs,
    "logs": Logs,
}
_NAMED_TABLES: Mapping[str, type[Table]] = {"chains": Chain, "contracts": Contract}
_BY_CHAIN = re.compile(r"(\d+)@([^,]+)")  # the form of the multi-chain examples: 17000@https://…,84532@https://…
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")

Document = dict[str, Any]


class UnknownVariable(ValueError):
    """A ``LISTENER__…`` name leads nowhere."""


def apply(document: Document, environ: Mapping[str, str]) -> list[str]:
    """
    Write the environment's values into a document.

    Returns:
        One line for each ``LISTENER__…`` name that leads nowhere.
    """
    problems: list[str] = []
    for variable in sorted(environ):
        if variable.startswith(PREFIX):
            try:
                _override(document, variable.removeprefix(PREFIX).split("__"), environ[variable])
            except UnknownVariable as error:
                problems.append(f"environment variable {variable}: {error}")
    for place, text in _stack_values(document, environ):
        _set_default(document, place, text)
    return problems


def _override(document: Document, parts: list[str], text: str) -> None:
    kind = parts[0].lower()
    if kind == "rules":
        raise UnknownVariable("[[rules]] cannot be set by the environment; write them in the file")
    if kind in _TABLES:
        _set(document.setdefault(kind, {}), _TABLES[kind], parts[1:], text)
    elif kind in _NAMED_TABLES:
        tables = document.get(kind, {})
        names = {_as_variable(name): name for name in tables}
        if len(parts) < 2 or parts[1] not in names:
            wanted = parts[1] if len(parts) > 1 else ""
            raise UnknownVariable(f'no table "{wanted}" in [{kind}]{suggestion(wanted, names)}')
        _set(tables[names[parts[1]]], _NAMED_TABLES[kind], parts[2:], text)
    else:
        known = [name.upper() for name in (*_TABLES, *_NAMED_TABLES)]
        raise UnknownVariable(f'no table "{parts[0]}"{suggestion(parts[0], known)}')


def _set(table: Any, model: type[Table], parts: list[str], text: str) -> None:
    key = parts[0].lower() if parts else ""
    known = (model.model_fields.keys() | model.not_yet) - model.given
    if key not in known or not isinstance(table, dict):
        raise UnknownVariable(f'no key "{key.upper()}"{suggestion(key.upper(), [name.upper() for name in known])}')
    if len(parts) == 1:
        table[key] = _typed(model, key, text)
    elif len(parts) == 2 and parts[1] in ("ENV", "FILE") and _holds_secret(model, key):
        table[key] = {parts[1].lower(): text}
    else:
        raise UnknownVariable(f"{key.upper()} has no {'__'.join(parts[1:])}; leave it out")


def _typed(model: type[BaseModel], key: str, text: str) -> Any:
    """Read numbers, booleans and lists as JSON; what the key holds as text stays text, digits or not."""
    field = model.model_fields.get(key)
    if field is None or _holds_text(field.annotation):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text  # the model says what it expected


def _holds_text(annotation: Any) -> bool:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _holds_text(args[0])
    if origin is Literal:
        return all(isinstance(choice, str) for choice in args)
    if isinstance(annotation, type):
        return issubclass(annotation, str | Secret | SecretStr | timedelta | Path)
    return origin is not tuple and all(_holds_text(arg) for arg in args if arg is not NoneType)


def _holds_secret(model: type[BaseModel], key: str) -> bool:
    return key in model.model_fields and key in ("key", "url", "token", "secret")


def _as_variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _stack_values(document: Document, environ: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give the places that the stack's own variables stand for."""
    if key := environ.get("PRIVATE_KEY_PERFORMER"):
        yield ("performer", "key"), key
    if url := environ.get("OTHENTIC_CLIENT_RPC_ADDRESS"):
        yield ("aggregator", "url"), url
    yield from _pinata(document, environ)
    yield from _attestation(document, environ.get("ATTESTATION_CENTER_ADDRESS", ""))
    chains = document.get("chains")
    if not isinstance(chains, dict) or not (text := environ.get("L2_RPC")):
        return
    by_id = {int(number): url for number, url in _BY_CHAIN.findall(text)}
    for name, chain in chains.items():
        if not isinstance(chain, dict):
            continue
        if chain.get("chain_id") in by_id:
            yield ("chains", name, "endpoints"), [by_id[chain["chain_id"]]]
        elif not by_id and len(chains) == 1:
            yield ("chains", name, "endpoints"), [text]


def _pinata(document: Document, environ: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give the examples' gateway, and their key where proofs are kept at Pinata."""
    table = document.get("proofs", {})
    if not isinstance(table, dict) or table.get("backend") == "inline":
        return
    if gateway := environ.get("PINATA_GATEWAY"):
        yield ("proofs", "gateways"), [gateway]
    key, secret = environ.get("PINATA_API_KEY"), environ.get("PINATA_SECRET_API_KEY")
    if key and secret and table.get("backend") == "pinata" and "token" not in table:
        yield ("proofs", "key"), key
        yield ("proofs", "secret"), secret


def _attestation(document: Document, text: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give the contract's address where it is clear which chain it is on; a list of them goes by the chains' ids."""
    chains = document.get("chains")
    if not isinstance(chains, dict):
        return
    by_id = {int(number): address for number, address in _BY_CHAIN.findall(text)}
    found = [
        (name, by_id[chain["chain_id"]])
        for name, chain in chains.items()
        if isinstance(chain, dict) and chain.get("chain_id") in by_id
    ]
    if len(found) == 1:
        yield ("attestation", "chain"), found[0][0]
        yield ("attestation", "address"), found[0][1]
    elif _ADDRESS.fullmatch(text) and (len(chains) == 1 or "attestation" in document):
        yield ("attestation", "address"), text


def _set_default(document: Document, place: tuple[str, ...], value: Any) -> None:
    table: Any = document
    for name in place[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            return  # a wrong type, which the model names
    table.setdefault(place[-1], value)

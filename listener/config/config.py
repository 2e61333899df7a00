"""``config.toml`` as one immutable value, refused as a whole when its parts do not fit together."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, ValidationInfo, model_validator

from listener.config.aggregator import Aggregator
from listener.config.attestation import Attestation
from listener.config.chain import Chain
from listener.config.contract import Contract
from listener.config.election import RoundRobin
from listener.config.http import Http
from listener.config.journal import Journal
from listener.config.logs import Logs
from listener.config.performer import Performer
from listener.config.proofs import Proofs
from listener.config.rule import Rule
from listener.config.surroundings import Surroundings
from listener.config.trigger import HttpTrigger
from listener.rules.nearest import suggestion
from listener.rules.table import Table
from listener.rules.triggers import EventTrigger

_NAMED = ("chains", "contracts")  # tables whose name is in the header


class Config(Table):
    """Everything that the operator wrote."""

    performer: Performer | None = None  # None where there are no rules, or nobody performs them
    chains: Mapping[str, Chain] = Field(default_factory=dict)
    contracts: Mapping[str, Contract] = Field(default_factory=dict)
    aggregator: Aggregator | None = None  # the same
    attestation: Attestation | None = None
    journal: Journal
    http: Http
    proofs: Proofs
    logs: Logs
    rules: tuple[Rule, ...] = Field(default=(), strict=False)

    @model_validator(mode="before")
    @classmethod
    def _name_tables(cls, data: Any) -> Any:
        """Tell each chain and contract its name, and let tables with nothing but defaults be left out."""
        if not isinstance(data, Mapping):
            return data
        named = {kind: _named(kind, data[kind]) for kind in _NAMED if isinstance(data.get(kind), Mapping)}
        return {"journal": {}, "http": {}, "proofs": {}, "logs": {}, **data, **named}

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> "Config":
        around = Surroundings.of(info)
        lines = [*self._unknown_names()]
        if around.performs:
            lines += self._missing_tables(require_key=around.require_key)
        if lines:
            raise ValueError("\n".join(lines))
        return self

    def chain_of(self, rule: Rule) -> Chain:
        """Give the chain that a rule looks at: the contract's for event rules, the only one where none is named."""
        return self.chains[self._chain_name(rule) or next(iter(self.chains))]

    @property
    def attestation_chain(self) -> Chain | None:
        """The chain of the attestation contract; None where there is none."""
        if self.attestation is None:
            return None
        return self.chains[self.attestation.chain or next(iter(self.chains))]

    @property
    def healthcheck_chain(self) -> str | None:
        """
        The chain whose blocks health checks name: that of the attestation contract, or the only one.

        None where health checks are not answered, or nobody can say which it is.
        """
        if not self.http.healthcheck:
            return None
        if self.attestation_chain is not None:
            return self.attestation_chain.name
        return next(iter(self.chains)) if len(self.chains) == 1 else None

    @property
    def secrets(self) -> list[str]:
        """Every text that no log line and no stored reason may show."""
        urls = [endpoint for chain in self.chains.values() for endpoint in chain.endpoints]
        urls += [self.journal.url] if self.aggregator is None else [self.journal.url, self.aggregator.url]
        found = [secret for url in urls for secret in url.secrets]
        if self.performer is not None and self.performer.key is not None:
            found.append(self.performer.key.get_secret_value().removeprefix("0x"))
        if self.http.token is not None:
            found.append(self.http.token.get_secret_value())
        return [*found, *self.proofs.secrets]

    def _chain_name(self, rule: Rule) -> str | None:
        if isinstance(rule.trigger, EventTrigger):
            return self.contracts[rule.trigger.contract].chain
        return rule.trigger.chain

    def _unknown_names(self) -> Iterator[str]:
        for contract in self.contracts.values():
            yield from self._unknown_chain(f"contracts.{contract.name}", contract.chain)
        if self.attestation is not None:
            yield from self._unknown_chain("attestation", self.attestation.chain)
        seen: set[str] = set()
        for rule in self.rules:
            if rule.name in seen:
                yield f"rule {rule.name}: there are two rules of this name; rename one"
            seen.add(rule.name)
            yield from self._shared_definition(rule)
            if isinstance(rule.election, RoundRobin) and self.attestation is None:
                yield (
                    f"rule {rule.name}: election: round_robin reads the operators of the attestation contract; write "
                    '[attestation] address = "0x…"'
                )
            if not isinstance(rule.trigger, EventTrigger):
                yield from self._unknown_chain(f"rule {rule.name}: trigger", rule.trigger.chain)
            elif rule.trigger.contract not in self.contracts:
                wanted = rule.trigger.contract
                yield f'rule {rule.name}: trigger: no contract "{wanted}"{suggestion(wanted, self.contracts)}'

    def _shared_definition(self, rule: Rule) -> Iterator[str]:
        """Find who shares an HTTP rule's number: a request names nothing else."""
        if isinstance(rule.trigger, HttpTrigger):
            for other in self.rules:
                if other is not rule and other.task_definition_id == rule.task_definition_id:
                    yield (
                        f"rule {rule.name}: task_definition_id {rule.task_definition_id} is also that of rule "
                        f"{other.name}, and a request names a rule of type http by it; give it a number of its own"
                    )

    def _unknown_chain(self, place: str, name: str | None) -> Iterator[str]:
        if name is not None and name not in self.chains:
            yield f'{place}: no chain "{name}"{suggestion(name, self.chains)}'
        if name is None and len(self.chains) != 1:
            chains = f"known: {', '.join(self.chains)}" if self.chains else "there is none: write a [chains.NAME] table"
            yield f"{place}: chain is missing; {chains}"

    def _missing_tables(self, *, require_key: bool) -> Iterator[str]:
        if not self.rules:
            return
        if self.performer is None and require_key:
            yield 'performer is missing, and rules need a key to sign with: [performer] key = { env = "PERFORMER_KEY" }'
        if self.aggregator is None:
            yield 'aggregator is missing, and rules need one to send to: [aggregator] url = "http://127.0.0.1:8555"'


def _named(kind: str, tables: Mapping[str, Any]) -> dict[str, Any]:
    for name, table in tables.items():
        if isinstance(table, Mapping) and "name" in table:
            raise ValueError(f'{kind}.{name}: unknown key "name"; the name is the one in [{kind}.{name}]')
    return {name: {**table, "name": name} if isinstance(table, Mapping) else table for name, table in tables.items()}

"""From rules as they are written to rules that are ready to match: names resolved, ABIs read, conditions typed."""

from collections.abc import Iterator

from listener.config.config import Config
from listener.config.rule import Rule
from listener.config.trigger import HttpTrigger, ScheduleTrigger
from listener.errors import ConfigError
from listener.rules.filter import EventFilter, event_filter
from listener.rules.matcher import Matcher
from listener.rules.triggers import EventTrigger
from listener.rules.where import conditions


def matchers(config: Config) -> tuple[Matcher, ...]:
    """
    Make ready to match every rule whose tasks a block makes, in the order of the configuration.

    Raises:
        ConfigError: one line for each rule whose event or conditions do not fit the ABI.
    """
    problems: list[str] = []
    made = tuple(_made(config, problems))
    if problems:
        raise ConfigError("\n".join(problems))
    return made


def matcher(config: Config, rule: Rule) -> Matcher | None:
    """
    Make one rule ready to match; None where no block makes its tasks.

    Raises:
        ConfigError: its event or conditions do not fit the ABI.
    """
    trigger = rule.trigger
    if isinstance(trigger, ScheduleTrigger | HttpTrigger):
        return None
    try:
        found = _filter(config, trigger) if isinstance(trigger, EventTrigger) else None
    except ConfigError as error:
        raise ConfigError(f"rule {rule.name}: {error}") from error
    return Matcher(rule.name, config.chain_of(rule).name, trigger, rule.blocks, found)


def _made(config: Config, problems: list[str]) -> Iterator[Matcher]:
    for rule in config.rules:
        try:
            made = matcher(config, rule)
        except ConfigError as error:
            problems.append(str(error))
        else:
            if made is not None:
                yield made


def _filter(config: Config, trigger: EventTrigger) -> EventFilter:
    contract = config.contracts[trigger.contract]
    event = contract.event(trigger.event)
    return event_filter(contract.address, event, conditions(trigger.where, event))

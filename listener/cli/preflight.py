"""The checks of ``listener check`` that need nobody but this machine, in the order in which they can fail."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, ParamSpec

from pydantic import SecretStr

from listener.config import Config, Rule, load, matcher
from listener.config.trigger import HttpTrigger, ScheduleTrigger
from listener.errors import ConfigError, JournalError
from listener.handlers import handler
from listener.handlers import load as load_handlers
from listener.journal.health import look
from listener.proofs.folder import problem as folder_problem
from listener.rules.triggers import BlockTrigger, EpochTrigger
from listener.signing import Signer

P = ParamSpec("P")

OK: Literal["ok"] = "ok"
WARNING: Literal["warning"] = "warning"
FAILED: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    status: Literal["ok", "warning", "failed"]
    check: str  # config | key | journal | proofs | rule | handler
    detail: str
    remedy: str | None = None  # of a warning or a failure, where its message has one

    @classmethod
    def of(cls, status: Literal["warning", "failed"], check: str, problem: str) -> "Finding":
        """Make one of an error's line: what is wrong stands before the first semicolon, what to do after it."""
        detail, _, remedy = problem.partition("; ")
        return cls(status, check, detail, remedy or None)

    @property
    def problem(self) -> str:
        """The error's line again."""
        return self.detail if self.remedy is None else f"{self.detail}; {self.remedy}"


def findings(
    path: Path, environ: Mapping[str, str], *, require_key: bool, performs: bool = True, attests: bool = False
) -> Iterator[Finding]:
    """
    Run every check that can still run after what failed.

    Args:
        path: ``config.toml``.
        environ: the environment.
        require_key: False makes a key that is not there a warning.
        performs: False for an attester, which has no key and no journal.
        attests: whether a task has to have a ``validate``.
    """
    try:
        config = load(path, environ, require_key=require_key, performs=performs)
    except ConfigError as error:
        yield from _failures("config", error)
        return
    yield Finding(OK, "config", _summary(path, config))
    if performs:
        yield from _key(path, environ, config)
        yield from _journal(config)
    yield from _proofs(path, environ, config, performs=performs)
    if not config.rules:
        yield Finding(FAILED, "rule", "there are no rules, so there is nothing to run", "write a [[rules]] block")
    for rule in config.rules:
        yield from _checked("rule", _meaning, config, rule)
    folder = path.absolute().parent
    handled = [found for rule in config.rules for found in _checked("handler", _task, rule, folder)]
    yield from handled
    if all(found.status == OK for found in handled):
        yield from _agreement(config, folder, attests=attests)


def _key(path: Path, environ: Mapping[str, str], config: Config) -> Iterator[Finding]:
    performer = config.performer
    if performer is not None and performer.key is not None:
        yield from _checked("key", _address, performer.key, performer.address)
        return
    try:
        load(path, environ)  # again, for what it says about the key
    except ConfigError as error:
        for line in str(error).splitlines():
            if not line.startswith(f"{path}: proofs"):
                yield Finding.of(WARNING, "key", line)


def _proofs(path: Path, environ: Mapping[str, str], config: Config, *, performs: bool) -> Iterator[Finding]:
    """Look whether proofs can be kept; silent where nothing is written of them and nothing is wrong."""
    proofs = config.proofs
    if performs and proofs.backend == "pinata" and not proofs.pinata_headers:
        try:
            load(path, environ)  # again, for what it says about the key
        except ConfigError as error:
            for line in str(error).splitlines():
                if line.startswith(f"{path}: proofs"):
                    yield Finding.of(WARNING, "proofs", line)
        return
    if performs and proofs.backend == "local":
        problem = folder_problem(proofs.folder)
        if problem is not None:
            yield Finding.of(FAILED, "proofs", problem)
            return
    if proofs.model_fields_set:
        place = {"local": str(proofs.folder), "inline": "in the task itself"}.get(proofs.backend)
        gateways = ", ".join(url.redacted for url in proofs.gateways) or "none"
        yield Finding(OK, "proofs", f"{proofs.backend}: {place or proofs.service.redacted}; gateways: {gateways}")


def _journal(config: Config) -> Iterator[Finding]:
    """Look whether the journal is whole, and whether a daemon may go on with it; silent where there is none yet."""
    path = config.journal.path
    if not path.exists():
        return
    try:
        health = look(path)
    except JournalError as error:
        yield Finding.of(FAILED, "journal", str(error))
        return
    if health.held is None:
        yield Finding(OK, "journal", f"{path}: whole")
    else:
        remedy = "start it with `listener run --resume-at latest`, or `--resume-at cursor`"
        yield Finding(WARNING, "journal", f"{path}: whole, and held {health.held}", remedy)


def _agreement(config: Config, folder: Path, *, attests: bool) -> Iterator[Finding]:
    """Check what concerns several handlers; silent when they agree."""
    try:
        handlers = load_handlers(config.rules, folder)
    except ConfigError as error:
        yield from _failures("handler", error)
        return
    if attests and handlers and all(each.validate is None for each in handlers.values()):
        detail = "no rule's task has a function validate, so there is nothing to judge"
        yield Finding(FAILED, "handler", detail, "write one")


def _checked(check: str, look: Callable[P, str], *args: P.args, **kwargs: P.kwargs) -> Iterator[Finding]:
    try:
        yield Finding(OK, check, look(*args, **kwargs))
    except ConfigError as error:
        yield from _failures(check, error)


def _failures(check: str, error: ConfigError) -> Iterator[Finding]:
    for line in str(error).splitlines():
        yield Finding.of(FAILED, check, line)


def _summary(path: Path, config: Config) -> str:
    counts = (("chain", len(config.chains)), ("contract", len(config.contracts)), ("rule", len(config.rules)))
    return f"{path}: " + ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in counts)


def _address(key: SecretStr, expected: str | None) -> str:
    return f"signs as {Signer(key.get_secret_value(), expected).address}"


def _meaning(config: Config, rule: Rule) -> str:
    made, trigger = matcher(config, rule), rule.trigger
    if isinstance(trigger, BlockTrigger):
        when = "every block" if trigger.every == 1 else f"every {trigger.every} blocks"
    elif isinstance(trigger, EpochTrigger):
        when = f"the {trigger.at} of every epoch of {trigger.length} blocks"
    elif isinstance(trigger, HttpTrigger):
        when = "when POST /task/execute asks for it,"
    elif isinstance(trigger, ScheduleTrigger):
        when = _plan(trigger)
    else:
        event = made.filter.event.signature if made and made.filter else trigger.event
        when = f"{event} of {trigger.contract}"
    return f"{rule.name}: {when} on {config.chain_of(rule).name}"


def _plan(trigger: ScheduleTrigger) -> str:
    if trigger.every is not None:
        return f"every {trigger.every.total_seconds():.0f} s"
    return f'"{trigger.cron}" in {trigger.timezone or "UTC"},'


def _task(rule: Rule, folder: Path) -> str:
    try:
        found = handler(rule, folder)
    except ConfigError as error:
        raise ConfigError("\n".join(f"rule {rule.name}: {line}" for line in str(error).splitlines())) from error
    functions = "execute, validate" if found.validate else "execute"
    return f"{rule.name}: {found.module} ({functions})"

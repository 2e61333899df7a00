"""What the operator wrote: ``config.toml`` and the environment, checked and immutable."""

from listener.config.aggregator import Aggregator
from listener.config.chain import Chain
from listener.config.config import Config
from listener.config.contract import Contract
from listener.config.hold import Hold
from listener.config.http import Http
from listener.config.journal import Journal
from listener.config.load import load
from listener.config.logs import Logs
from listener.config.matchers import matcher, matchers
from listener.config.performer import Performer
from listener.config.proofs import Proofs
from listener.config.rule import Rule
from listener.config.traces import trace_secrets, traces_wanted
from listener.config.url import Url

__all__ = [
    "Aggregator",
    "Chain",
    "Config",
    "Contract",
    "Hold",
    "Http",
    "Journal",
    "Logs",
    "Performer",
    "Proofs",
    "Rule",
    "Url",
    "load",
    "matcher",
    "matchers",
    "trace_secrets",
    "traces_wanted",
]

"""
What the daemon counts and times, as Prometheus metrics; the one place where they are named.

Names begin with ``listener_`` and end with their unit. Labels are names from the configuration and words from fixed
lists, never a value from a chain or a URL.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

registry = CollectorRegistry()

audit_found = Counter(
    "listener_audit_found", "Logs that the first read lacked and the audit sweep found.", ["chain"], registry=registry
)
triggers_expired = Counter(
    "listener_triggers_expired",
    "Triggers journaled as expired when they were found: too late for catch_up, or possibly done before.",
    ["chain"],
    registry=registry,
)
rules_gone = Counter(
    "listener_tasks_of_gone_rules",
    "Tasks that expired because their rule is no longer in the configuration.",
    registry=registry,
)

journal_reconnects = Counter(
    "listener_journal_reconnects", "Connections to PostgreSQL that were lost and made anew.", registry=registry
)
taken_over = Counter(
    "listener_tasks_taken_over", "Tasks taken from a process that did not renew its claims in time.", registry=registry
)
# An endpoint's label is its place in the chain's `endpoints`, from 1: its URL may hold a key.
_ENDPOINT = ["chain", "endpoint"]
rpc_seconds = Histogram(
    "listener_rpc_seconds",
    "Calls of an endpoint that were answered with a result, and how long that took.",
    _ENDPOINT,
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10),
    registry=registry,
)
rpc_errors = Counter(
    "listener_rpc_errors",
    "Calls without a result, by kind: refused (a JSON-RPC error), limited (too many), unavailable, wrong_chain.",
    [*_ENDPOINT, "kind"],
    registry=registry,
)
endpoint_reconnects = Counter(
    "listener_endpoint_reconnects", "Websockets that were opened again.", _ENDPOINT, registry=registry
)
endpoint_head = Gauge(
    "listener_endpoint_head_block", "The newest block that an endpoint told of.", _ENDPOINT, registry=registry
)
disagreements = Counter(
    "listener_endpoint_disagreements",
    "Answers of an endpoint that others contradicted: another hash, other logs, a reorg that nobody else saw.",
    _ENDPOINT,
    registry=registry,
)

validations = Counter(
    "listener_validations",
    "Answers to attesters, by rule and by what was said: approve, reject, unsure, busy (too many at once). "
    "Answers that were remembered or shared count as well.",
    ["rule", "verdict"],
    registry=registry,
)
validation_seconds = Histogram(
    "listener_validation_seconds",
    "How long a task's validate took to judge an attester's claim, with the wait for its turn.",
    ["rule"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30),
    registry=registry,
)
self_checks = Counter(
    "listener_self_checks",
    "Results that the task's own validate judged before they were signed, by what it said: approve, reject, unsure.",
    ["rule", "verdict"],
    registry=registry,
)


class RpcMetrics:
    """The metrics of one endpoint, looked up once: a call must not pay for finding them."""

    def __init__(self, chain: str, endpoint: str) -> None:
        self._errors = {
            kind: rpc_errors.labels(chain, endpoint, kind)
            for kind in ("refused", "limited", "unavailable", "wrong_chain")
        }
        self.took = rpc_seconds.labels(chain, endpoint).observe
        self.reconnects = endpoint_reconnects.labels(chain, endpoint)
        self.head = endpoint_head.labels(chain, endpoint)
        self.disagreements = disagreements.labels(chain, endpoint)

    def failed(self, kind: str) -> None:
        """Count a call that brought no result."""
        self._errors[kind].inc()

"""
What the daemon counts and times, as Prometheus metrics; the one place where they are named.

Names begin with ``listener_`` and end with their unit. Labels are names from the configuration and words from fixed
lists, never a value from a chain or a URL. ``python -m listener.metrics`` prints the page that lists them all.
"""

import sys
from collections.abc import Iterable, Sequence
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would be a second one beside each counter
registry = CollectorRegistry()
_listed: list[tuple[str, str, Sequence[str], str]] = []

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
INCIDENTS = ("gap", "reconnect", "reorg", "halt", "audit")
OPEN = ("pending", "running", "ready")
ENDS = ("accepted", "skipped", "expired", "failed")


def _counter(name: str, what: str, labels: Sequence[str] = ()) -> Counter:
    _listed.append((f"{name}_total", "counter", labels, what))
    return Counter(name, what, labels, registry=registry)


def _gauge(name: str, what: str, labels: Sequence[str] = ()) -> Gauge:
    _listed.append((name, "gauge", labels, what))
    return Gauge(name, what, labels, registry=registry)


def _histogram(name: str, what: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
    _listed.append((name, "histogram", labels, what))
    return Histogram(name, what, labels, buckets=buckets, registry=registry)


# Chains: a follower's place, and what was borne.
_CHAIN = ("chain",)
head_block = _gauge("listener_head_block", "The newest block that is known.", _CHAIN)
cursor_block = _gauge("listener_cursor_block", "The last block that was walked.", _CHAIN)
lag_blocks = _gauge("listener_lag_blocks", "Blocks from the cursor to the head.", _CHAIN)
blocks_walked = _counter("listener_blocks_walked", "Blocks that were walked.", _CHAIN)
halted = _gauge("listener_halted", "1 while the chain is halted, else 0.", _CHAIN)
incidents = _counter(
    "listener_incidents",
    "What went wrong and was borne, as `listener incidents list` shows it: each time, also where a row counts several.",
    ("chain", "kind"),
)
gap_blocks = _counter("listener_gap_blocks", "Blocks of which no line told in time; they were read afterwards.", _CHAIN)
reorg_depth = _histogram(
    "listener_reorg_depth_blocks",
    "Reorgs, and how many blocks left the chain in each.",
    _CHAIN,
    (1, 2, 4, 8, 16, 32, 64),
)
audit_found = _counter("listener_audit_found", "Logs that the first read lacked and the audit sweep found.", _CHAIN)

# Endpoints. The label is an endpoint's place in the chain's `endpoints`, from 1: its URL may hold a key.
_ENDPOINT = ("chain", "endpoint")
rpc_seconds = _histogram(
    "listener_rpc_seconds",
    "Calls of an endpoint that were answered with a result, and how long that took.",
    _ENDPOINT,
    (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10),
)
rpc_errors = _counter(
    "listener_rpc_errors",
    "Calls without a result, by kind: refused (a JSON-RPC error), limited (too many), unavailable, wrong_chain.",
    (*_ENDPOINT, "kind"),
)
endpoint_reconnects = _counter("listener_endpoint_reconnects", "Websockets that were opened again.", _ENDPOINT)
endpoint_head = _gauge("listener_endpoint_head_block", "The newest block that an endpoint told of.", _ENDPOINT)
disagreements = _counter(
    "listener_endpoint_disagreements",
    "Answers of an endpoint that others contradicted: another hash, other logs, a reorg that nobody else saw.",
    _ENDPOINT,
)

# Tasks. Counted where their log line is written, so that a line and an increment go together.
tasks_journaled = _counter("listener_tasks_journaled", "New rows: one for each trigger.", _CHAIN)
tasks_ended = _counter(
    "listener_tasks_ended", f"Tasks that came to an end, by state: {', '.join(ENDS)}.", ("rule", "state")
)
tasks_cancelled = _counter("listener_tasks_cancelled", "Unsent tasks whose block left the chain.", _CHAIN)
tasks_orphaned = _counter("listener_tasks_orphaned", "Sent tasks whose block left the chain.", _CHAIN)
tasks_revived = _counter("listener_tasks_revived", "Tasks whose block came back.", _CHAIN)
taken_over = _counter("listener_tasks_taken_over", "Tasks taken from a process that did not renew its claims in time.")
task_accepted_seconds = _histogram(
    "listener_task_accepted_seconds",
    "From a trigger being journaled to the aggregator's acceptance.",
    ("rule",),
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300),
)
sends_failed = _counter(
    "listener_sends_failed",
    "Sends that were not taken, by kind: refused (for ever), declined (an error that may pass), unavailable.",
    ("kind",),
)
already_known = _counter(
    "listener_already_known", "Tasks that the aggregator knew before their first send: another sender.", ("rule",)
)
election_failures = _counter(
    "listener_election_failures", "Elections that could not be read, and are made again.", ("rule",)
)
schedule_clock_set_back = _counter(
    "listener_schedule_clock_set_back", "Times that a clock was far behind what was planned by it before.", ("rule",)
)

# Handlers, and the loops that everything runs on.
handler_seconds = _histogram(
    "listener_handler_seconds",
    "Executions of a handler, and how long they took.",
    ("rule",),
    (0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30),
)
handler_failures = _counter("listener_handler_failures", "Executions that failed and will be repeated.", ("rule",))
handlers_blocked = _counter(
    "listener_handlers_blocked", "Times that a handler kept the handlers' loop from turning for a second."
)
loop_stall_seconds = _histogram(
    "listener_loop_stall_seconds",
    "How long a loop was late, looked at once a second: `main`, or `handlers` while some run.",
    ("loop",),
    (0.01, 0.05, 0.1, 0.25, 0.5, 1, 5, 20),
)

# What a task's own validate says: to attesters, and of our own results.
validations = _counter(
    "listener_validations",
    "Answers to attesters, remembered ones too, by what was said: approve, reject, unsure, busy (too many at once).",
    ("rule", "verdict"),
)
validation_seconds = _histogram(
    "listener_validation_seconds",
    "How long a task's validate took to judge an attester's claim, with the wait for its turn.",
    ("rule",),
    (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30),
)
self_checks = _counter(
    "listener_self_checks",
    "Results that the task's own validate judged before they were signed, by what it said: approve, reject, unsure.",
    ("rule", "verdict"),
)

proofs = _counter(
    "listener_proofs",
    "Proofs that were put or got, by what came of it: ok, rejected (no proof), unavailable, refused (never kept so).",
    ("call", "outcome"),
)

# The journal. What waits in it is measured every ten seconds; where daemons share one, each measures the whole.
tasks_open = _gauge("listener_tasks_open", f"Tasks that are in a state now: {', '.join(OPEN)}.", ("rule", "state"))
outbox_age_seconds = _gauge("listener_outbox_age_seconds", "Age of the oldest task that is ready and not taken yet.")
dead_letters = _gauge("listener_dead_letters", "Tasks that are failed now.", ("rule",))
dead_letter_age_seconds = _gauge("listener_dead_letter_age_seconds", "Time since the oldest of these failed.")
journal_reconnects = _counter("listener_journal_reconnects", "Connections to PostgreSQL that were lost and made anew.")

# HTTP. A path is one of those that are served, with {id} in place of a task's; else it is "other".
http_requests = _counter("listener_http_requests", "Requests that were answered or refused.", ("path", "status"))
http_connections_refused = _counter(
    "listener_http_connections_refused", "Connections that ended before a request was read: too slow, or too many."
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


class ChainMetrics:
    """The metrics of one chain, looked up once."""

    def __init__(self, chain: str) -> None:
        self._head, self._cursor, self._lag = (each.labels(chain) for each in (head_block, cursor_block, lag_blocks))
        self.walked, self.journaled = blocks_walked.labels(chain).inc, tasks_journaled.labels(chain).inc
        self._cancelled, self._orphaned = tasks_cancelled.labels(chain), tasks_orphaned.labels(chain)
        self._revived = tasks_revived.labels(chain)
        self._incidents = {kind: incidents.labels(chain, kind) for kind in INCIDENTS}
        self.gap_blocks = gap_blocks.labels(chain)
        self.reorganised = reorg_depth.labels(chain).observe
        self.halted = halted.labels(chain)

    def stand(self, cursor: int, head: int) -> None:
        """Say where the chain stands."""
        self._cursor.set(cursor)
        self._head.set(head)
        self._lag.set(max(head - cursor, 0))

    def moved(self, cancelled: int, orphaned: int, revived: int) -> None:
        """Count the tasks of blocks that left the chain or came back."""
        self._cancelled.inc(cancelled)
        self._orphaned.inc(orphaned)
        self._revived.inc(revived)

    def incident(self, kind: str) -> None:
        """Count an incident."""
        self._incidents[kind].inc()


class RuleMetrics:
    """The metrics of one rule, looked up once: a task must not pay for finding them."""

    def __init__(self, rule: str) -> None:
        self._ended = {state: tasks_ended.labels(rule, state) for state in ENDS}
        self._accepted = task_accepted_seconds.labels(rule).observe
        self._already_known = already_known.labels(rule)
        self.executed = handler_seconds.labels(rule).observe
        self.failures = handler_failures.labels(rule)

    def ended(self, state: str) -> None:
        """Count a task that came to an end."""
        self._ended[state].inc()

    def accepted(self, took_s: float, *, already_known: bool) -> None:
        """Time a task that the aggregator took."""
        self._accepted(took_s)
        if already_known:
            self._already_known.inc()


@cache  # their names come from the configuration and the journal: there are few
def of_chain(chain: str) -> ChainMetrics:
    """Return the metrics of a chain."""
    return ChainMetrics(chain)


@cache
def of_rule(rule: str) -> RuleMetrics:
    """Return the metrics of a rule."""
    return RuleMetrics(rule)


def render() -> bytes:
    """Return all metrics as Prometheus reads them: ``CONTENT_TYPE``."""
    return generate_latest(registry)


def described() -> str:
    """Return the page of the documentation that lists every metric."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterable[str]:
    yield "# Metrics"
    yield ""
    yield "What the daemon counts. This page is made by `python -m listener.metrics > docs/metrics.md`."
    yield ""
    yield "| name | kind | labels | what |"
    yield "|---|---|---|---|"
    for name, kind, labels, what in _listed:
        yield f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {what} |"


if __name__ == "__main__":
    sys.stdout.write(described())

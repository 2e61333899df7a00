"""
What the daemon counts and times, as Prometheus metrics; the one place where they are named.

Names begin with ``listener_`` and end with their unit. Labels are names from the configuration and words from fixed
lists, never a value from a chain or a URL.
"""

from prometheus_client import CollectorRegistry, Counter

registry = CollectorRegistry()

audit_found = Counter(
    "listener_audit_found", "Logs that the first read lacked and the audit sweep found.", ["chain"], registry=registry
)

journal_reconnects = Counter(
    "listener_journal_reconnects", "Connections to PostgreSQL that were lost and made anew.", registry=registry
)
taken_over = Counter(
    "listener_tasks_taken_over", "Tasks taken from a process that did not renew its claims in time.", registry=registry
)

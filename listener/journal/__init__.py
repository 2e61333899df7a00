"""The journal: the durable record of every task, and the queue between the stages."""

from listener.journal.appender import RuleFacts
from listener.journal.asked import Asked, Taken
from listener.journal.audit import AuditRow, Sweep
from listener.journal.chain_rows import ChainRow
from listener.journal.journal import Journal, now_us
from listener.journal.late import CatchUp
from listener.journal.plans import Plan
from listener.journal.work import Claimed, Due, Ended, Frontier, Parcel, Sent, Signed, Step, Written

__all__ = [
    "Asked",
    "AuditRow",
    "CatchUp",
    "ChainRow",
    "Claimed",
    "Due",
    "Ended",
    "Frontier",
    "Journal",
    "Parcel",
    "Plan",
    "RuleFacts",
    "Sent",
    "Signed",
    "Step",
    "Sweep",
    "Taken",
    "Written",
    "now_us",
]

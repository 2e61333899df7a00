"""
The stage that sends ready tasks to the aggregator, the identical bytes again until they are taken or given up.

Bounded requests in flight. While the aggregator cannot be reached one send at a time is tried, after a growing pause,
so that neither a long outbox nor a long outage makes a storm. Each try is another task's: what looks like an outage
may be the fault of one task.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

import structlog

from listener import metrics, traces
from listener.aggregator import Aggregator
from listener.errors import AggregatorDeclined, AggregatorRefused, AggregatorUnavailable
from listener.journal import Journal, Parcel, Sent, now_us
from listener.logs import redacted
from listener.model import State

log = structlog.get_logger()

SECOND = 1_000_000  # in the journal's microseconds
LONGEST_PAUSE_S = 30.0
POLL_S = 5.0  # polling is the fallback of the wake-up


class Submitter:
    """Sends what is ready, oldest first."""

    name = "submitter"

    def __init__(self, aggregator: Aggregator, journal: Journal, *, in_flight: int, give_up_after_s: float) -> None:
        self._aggregator = aggregator
        self._journal = journal
        self._in_flight = in_flight
        self._give_up_after_us = int(give_up_after_s * SECOND)
        self._wake = asyncio.Event()
        self._sending = 0
        self._received = 0  # parcels, in all
        self._room = 0  # for how many the journal hands out at once what is signed next
        self._look = True  # something may be ready that does not come by itself
        self._sent: list[tuple[Parcel, Sent]] = []
        self._recording = asyncio.Event()
        self._failures = 0  # in a row, over all tasks
        self._failed_last = 0  # the task of the last of them: the next try is another's, for it may be the task's fault
        self._declining = False  # the last answer was an error that may pass
        self._declined: set[int] = set()  # tasks that got one
        self._failed = {kind: metrics.sends_failed.labels(kind) for kind in ("refused", "declined", "unavailable")}
        self._failed_at = 0  # when the last of them was noticed
        self._rest_until = 0.0  # on the loop's clock
        self._group = asyncio.TaskGroup()
        journal.on_ready = self._on_ready
        journal.on_handed_out = self._begin

    async def run(self, stop: asyncio.Event) -> None:
        """Send until asked to stop, then wait for the answers that are on their way."""
        async with self._group as group:
            helpers = [group.create_task(self._record()), group.create_task(_when(stop, self._wake.set))]
            while not stop.is_set():
                self._wake.clear()
                if not await self._hand_out():
                    await self._wait()
            await self._leave_no_room()
            while self._sending or self._sent:
                self._wake.clear()
                await self._wake.wait()
            for helper in helpers:
                helper.cancel()

    async def _hand_out(self) -> bool:
        """Begin as many sends as there is room for; say whether there may be more to do at once."""
        slots = (1 if self._failures else self._in_flight) - self._sending
        if slots <= 0 or self._rest_until > asyncio.get_running_loop().time():
            await self._leave_no_room()
            return False
        if self._room * 2 >= self._in_flight and not self._look:
            return False
        self._look = False
        before = self._received
        parcels = await self._journal.hand_out(slots, before, self._failed_last if self._failures else 0)
        slots -= self._received - before  # what was signed meanwhile was handed out as well
        self._room = slots
        self._begin(parcels)
        if self._failures:
            await self._leave_no_room()
        return len(parcels) >= slots

    async def _leave_no_room(self) -> None:
        if self._room > 0:
            self._room = 0
            await self._journal.hand_out(0, self._received)

    def _begin(self, parcels: Sequence[Parcel]) -> None:
        self._received += len(parcels)
        self._room -= len(parcels)
        self._sending += len(parcels)
        for parcel in parcels:
            sending = self._send(parcel)
            try:
                self._group.create_task(sending)
            except RuntimeError:  # we are being cancelled: it is sent after the next start
                sending.close()

    def _on_ready(self) -> None:
        self._look = True
        self._wake.set()

    async def _wait(self) -> None:
        """Wait until something is ready or due again, or a send has ended."""
        pause = max(self._rest_until - asyncio.get_running_loop().time(), 0.0) or POLL_S
        try:
            async with asyncio.timeout(min(pause, POLL_S)):
                await self._wake.wait()
        except TimeoutError:
            self._look = True

    async def _send(self, parcel: Parcel) -> None:
        begun = now_us()
        try:
            known = await self._aggregator.send(parcel.payload)
            sent = self._accepted(parcel, begun, known=known)
        except AggregatorRefused as error:
            self._failed["refused"].inc()
            sent = _failed(parcel, begun, redacted(str(error)))
        except AggregatorDeclined as error:
            self._decline(parcel, redacted(str(error)))
            sent = self._later(parcel, begun, redacted(str(error)))
        except AggregatorUnavailable as error:
            self._failed["unavailable"].inc()
            self._rest(parcel, begun, redacted(str(error)))
            sent = self._later(parcel, begun, redacted(str(error)))
        finally:
            self._sending -= 1
        if sent.state != State.READY:
            self._declined.discard(parcel.id)
        self._sent.append((parcel, sent))
        self._recording.set()
        self._wake.set()

    async def _record(self) -> None:
        """Write what became of sends, all that wait in one go, and say it: the next sends have begun by then."""
        while True:
            await self._recording.wait()
            self._recording.clear()
            ended = self._sent[:]
            await self._journal.take_back([sent for _, sent in ended])
            del self._sent[: len(ended)]
            for parcel, sent in ended:
                _report(parcel, sent)
                if traces.notebook is not None:
                    _note(traces.notebook, sent)
            self._wake.set()

    def _accepted(self, parcel: Parcel, begun: int, *, known: bool) -> Sent:
        self._failures, self._declining = 0, False
        # On a resend it is what we hoped for: the first send had arrived. On a first send it is somebody else's.
        foreign = known and parcel.fresh
        return Sent(id=parcel.id, state=State.ACCEPTED, sent_at=begun, ended_at=now_us(), already_known=foreign)

    def _decline(self, parcel: Parcel, reason: str) -> None:
        """Tell of an error that may pass, once for each task, and once where everybody gets one."""
        self._failures = 0
        self._failed["declined"].inc()
        if not self._declining and parcel.id not in self._declined:
            log.warning("aggregator.declined", aggregator=self._aggregator.name, task=parcel.id, reason=reason)
        self._declining = True
        self._declined.add(parcel.id)

    def _later(self, parcel: Parcel, begun: int, reason: str) -> Sent:
        ended = now_us()
        if ended - (parcel.retried_at or parcel.sent_at or begun) >= self._give_up_after_us:
            return _failed(parcel, begun, f"gave up after {parcel.sends + 1} sends; the last: {reason}")
        pause = _pause(parcel.sends)
        asyncio.get_running_loop().call_later(pause, self._on_ready)
        later = ended + int(pause * SECOND)
        return Sent(id=parcel.id, state=State.READY, sent_at=begun, ended_at=ended, not_before=later, error=reason)

    def _rest(self, parcel: Parcel, begun: int, reason: str) -> None:
        """Leave the aggregator alone for a while that grows with each failure in a row."""
        if begun < self._failed_at:
            return  # sends that were under way together fail together, and are one failure
        if self._failures == 0:
            log.warning("aggregator.unavailable", aggregator=self._aggregator.name, task=parcel.id, reason=reason)
        self._failures += 1
        self._failed_last = parcel.id
        self._failed_at = now_us()
        self._rest_until = asyncio.get_running_loop().time() + _pause(self._failures - 1)


def _failed(parcel: Parcel, begun: int, reason: str) -> Sent:
    return Sent(id=parcel.id, state=State.FAILED, sent_at=begun, ended_at=now_us(), error=reason)


def _report(parcel: Parcel, sent: Sent) -> None:
    """Write the one line that a task gets when its way ends here."""
    if sent.state == State.READY:
        return
    counted = metrics.of_rule(parcel.rule)
    counted.ended(sent.state)
    if sent.state == State.ACCEPTED:
        counted.accepted((sent.ended_at - parcel.created_at) / SECOND, already_known=sent.already_known)
    level = log.error if sent.state == State.FAILED else log.warning if sent.already_known else log.info
    level(
        f"task.{sent.state}",
        task=parcel.id,
        rule=parcel.rule,
        chain=parcel.chain,
        block=parcel.block_number,
        sends=parcel.sends + 1,
        already_known=sent.already_known,
        took_ms=round((sent.ended_at - parcel.created_at) / 1000, 1),
        reason=sent.error,
    )


def _note(notebook: traces.Notebook, sent: Sent) -> None:
    ended = sent.state != State.READY
    notebook.add(
        traces.Note(
            task=sent.id,
            name="send",
            began=sent.sent_at,
            ended=sent.ended_at,
            said=sent.state if ended else "again later",
            error=sent.error,
            is_last=ended,
        )
    )


def _pause(tries: int) -> float:
    """Return how long to wait after so many tries, in seconds: doubling, with jitter."""
    longest: float = min(LONGEST_PAUSE_S, 0.25 * 2 ** min(tries, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret


async def _when(stop: asyncio.Event, act: Callable[[], None]) -> None:
    await stop.wait()
    act()

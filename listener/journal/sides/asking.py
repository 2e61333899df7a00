"""The side of who asks for a task that no block makes: a request, or a schedule with its plan."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy import Connection

from listener import metrics
from listener.journal import asked as asking
from listener.journal import endings, plans
from listener.journal.asked import Asked, Taken
from listener.journal.clock import now_us
from listener.journal.endings import Ending
from listener.journal.plans import Plan
from listener.journal.sides.ground import Ground
from listener.journal.work import Claimed

_Answer = tuple[list[Taken], list[Ending], list[Claimed]]  # to who asked


class AskingSide(Ground):
    """What a scheduler and the HTTP side do."""

    async def ask(self, asked: Asked) -> Taken:
        """
        Append a task that no block makes, unless there is one of its cause; what HTTP asks for is synced to disk.

        Waits until the chain has a cursor, for ever where the chain cannot be read: who cannot wait sets a timeout.
        """
        (taken,) = await self._ask([asked], None, durable=asked.trigger == "http")
        return taken

    async def adopt_schedules(self, fingerprints: Mapping[str, str], now: int) -> dict[str, Plan]:
        """Return by rule where each schedule stands; one that is new or was changed begins ``now``, in Unix seconds."""
        return await self._writer.run(partial(plans.adopt, fingerprints=fingerprints, now=now), durable=True)

    async def plan(self, rule: str, asked: Sequence[Asked], plan: Plan) -> list[Taken]:
        """Append the tasks of planned times, and how far the rule is planned with them; waits as ``ask`` does."""
        return await self._ask(asked, (rule, plan), durable=False)

    async def _ask(self, asked: Sequence[Asked], plan: tuple[str, Plan] | None, *, durable: bool) -> list[Taken]:
        def work(connection: Connection) -> _Answer | None:
            now = now_us()
            made: list[Taken] = []
            for each in asked:
                taken = asking.append(connection, each, self._walk.rules[each.rule].task_definition_id, now)
                if taken is None:  # the first of them already: they are of one chain
                    return None
                made.append(taken)
            if plan is not None:
                plans.put(connection, *plan)
            dead = [to.task for each, to in zip(asked, made, strict=True) if to.is_new and each.expired is not None]
            ended = endings.of_asked(connection, dead, now)
            return made, ended, self._claims.serve(connection, rules, now)

        rules = {each.rule for each in asked}
        chain = asked[0].chain
        while True:
            walked = self._walked.setdefault(chain, asyncio.Event())
            done = self._writer.submit(work, durable=durable)
            done.add_done_callback(partial(self._on_asked, rules, chain))
            # Shielded: a caller that goes away must not take along what a standing claim brought.
            answer = await asyncio.shield(done)
            if answer is not None:
                return answer[0]
            await walked.wait()

    def _on_asked(self, rules: set[str], chain: str, done: asyncio.Future["_Answer | None"]) -> None:
        if done.cancelled() or done.exception() is not None or (answer := done.result()) is None:
            return
        made, ended, claimed = answer
        new = sum(taken.is_new for taken in made)
        metrics.of_chain(chain).journaled(new)
        endings.tell(ended)
        if claimed:
            self.on_claimed(claimed)
        if new - len(ended) > len(claimed):
            self.on_pending(rules)

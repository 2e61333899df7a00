"""
Runs a command of the daemon that kills itself with ``SIGKILL`` at a named step of its work.

``python -m listener.testing.crash POINT:N run --config …`` runs ``listener run --config …`` until POINT is reached for
the N-th time. The daemon itself knows nothing of it: its functions are wrapped here, before it starts.
"""

import functools
import importlib
import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

USAGE = "usage: python -m listener.testing.crash POINT:N COMMAND …, with POINT one of: {}"
COMMIT = ("listener.journal.writer", "Writer._settle")  # called once the transaction is committed


@dataclass(frozen=True, slots=True)
class Call:
    """A step that begins or ends with a call of a function."""

    module: str
    name: str  # of a function, or of a class and its method
    moment: Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Write:
    """
    A step that is written: a function that is called within a transaction.

    It gives two points: ``….before_commit`` when the function has run, ``….committed`` when its transaction is
    committed and nobody was told yet. A call that found nothing (an empty answer) does not count.
    """

    module: str
    name: str


CALLS = {
    "head.pushed": Call("listener.chains.chain", "Chain._on_head", "before"),
    "walk.begun": Call("listener.follower.walker", "Walker.advance", "before"),
    "logs.read": Call("listener.chains.chain", "Chain.logs_of", "after"),
    "step.matched": Call("listener.journal.journal", "Journal.write", "before"),
    "step.rewound": Call("listener.journal.walk", "Walk.rewind", "after"),
    "step.told": Call("listener.journal.journal", "Journal.write", "after"),
    "handler.started": Call("listener.runner.handler_loop", "execute", "before"),
    "handler.returned": Call("listener.runner.handler_loop", "execute", "after"),
    "result.signed": Call("listener.signing", "Signer.sign", "after"),
    "sign.told": Call("listener.journal.journal", "Journal.sign", "after"),
    "send.begun": Call("listener.aggregator.aggregator", "Aggregator.send", "before"),
    "answer.arrived": Call("listener.aggregator.connections", "_Connection.data_received", "before"),
    "send.answered": Call("listener.aggregator.aggregator", "Aggregator.send", "after"),
    "sent.told": Call("listener.journal.journal", "Journal.take_back", "after"),
}
WRITES = {
    "begin": Write("listener.journal.chain_rows", "begin"),
    "recover": Write("listener.journal.execution", "recover"),
    "step": Write("listener.journal.walk", "Walk.write"),
    "claim": Write("listener.journal.execution", "claim"),
    "suspect": Write("listener.journal.execution", "claim_suspect"),
    "sign": Write("listener.journal.execution", "sign"),
    "end": Write("listener.journal.execution", "end"),
    "hand_out": Write("listener.journal.sending", "Outbox.serve"),
    "sent": Write("listener.journal.sending", "Outbox.take_back"),
}
POINTS = (*CALLS, *(f"{name}.{moment}" for name in WRITES for moment in ("before_commit", "committed")))


class Trap:
    """Waits for one point."""

    def __init__(self, point: str, times: int) -> None:
        self._point = point
        self._left = times
        self._lock = threading.Lock()  # steps are taken in several threads
        self._written: set[str] = set()  # in the transaction that is open

    def install(self) -> None:
        """Wrap what has the point."""
        if self._point in CALLS:
            call = CALLS[self._point]
            self._wrap_call(call)
            return
        name, _, moment = self._point.rpartition(".")
        write = WRITES[name]
        if moment == "before_commit":
            _replace(write.module, write.name, functools.partial(_after, act=self._reach_if_any))
        else:
            _replace(write.module, write.name, functools.partial(_after, act=self._note))
            _replace(*COMMIT, functools.partial(_before, act=self._reach_if_noted))

    def _wrap_call(self, call: Call) -> None:
        wrap = _before if call.moment == "before" else _after
        _replace(call.module, call.name, functools.partial(wrap, act=lambda _result: self._reach()))

    def _reach(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.write(2, f'{{"event":"crash.reached","level":"info","point":"{self._point}"}}\n'.encode())
                os.kill(os.getpid(), signal.SIGKILL)

    def _reach_if_any(self, result: Any) -> None:
        if _found_something(result):
            self._reach()

    def _note(self, result: Any) -> None:
        if _found_something(result):
            self._written.add(self._point)

    def _reach_if_noted(self, _result: Any) -> None:
        if self._written:
            self._written.clear()
            self._reach()


def main(words: Sequence[str]) -> None:
    """Run a command up to a point."""
    point, _, times = (words[0] if words else "").partition(":")
    if point not in POINTS or not (times or "1").isdecimal():
        sys.stderr.write(USAGE.format(", ".join(POINTS)) + "\n")
        sys.exit(2)
    Trap(point, int(times or "1")).install()
    from listener.cli import main as command  # noqa: PLC0415 - not before it is wrapped

    sys.argv = ["listener", *words[1:]]
    command()


def _found_something(result: Any) -> bool:
    """Tell whether a call wrote anything, as far as its answer says so; None says nothing."""
    return result is None or not isinstance(result, list | dict | set | int) or bool(result)


def _replace(module: str, name: str, wrap: Callable[[Any], Any]) -> None:
    owner: Any = importlib.import_module(module)
    *classes, attribute = name.split(".")
    for each in classes:
        owner = getattr(owner, each)
    setattr(owner, attribute, wrap(getattr(owner, attribute)))


def _before(function: Any, act: Callable[[Any], None]) -> Any:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        act(None)
        return function(*args, **kwargs)

    return wrapped


def _after(function: Any, act: Callable[[Any], None]) -> Any:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        act(result)
        return result

    @functools.wraps(function)
    async def waited(*args: Any, **kwargs: Any) -> Any:
        result = await function(*args, **kwargs)
        act(result)
        return result

    return waited if inspect.iscoroutinefunction(function) else wrapped


if __name__ == "__main__":
    main(sys.argv[1:])

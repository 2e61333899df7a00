"""What Python and libraries would print by themselves is a line like any other, with every secret taken out."""

import json
import subprocess
import sys

import pytest

SECRET = "c0ffee00c0ffee00"  # noqa: S105 - of nobody
BEFORE = f"""
import asyncio, gc, logging, sys, threading, warnings
from listener import logs
logs.configure("info", "json", ["{SECRET}"])
logs.capture()
said = "http://user:pass@h/" + "{SECRET}"
def fails():
    raise RuntimeError(said)
"""
COMPLAINTS = {
    "a future whose exception nobody asked for": (
        """
async def main():
    asyncio.get_running_loop().create_future().set_exception(RuntimeError(said))
    gc.collect()
asyncio.run(main())
""",
        "library.complained",
    ),
    "a callback that fails": (
        """
async def main():
    asyncio.get_running_loop().call_soon(fails)
    await asyncio.sleep(0)
asyncio.run(main())
""",
        "library.complained",
    ),
    "a task that is destroyed as it waits, on the loop of the daemon": (
        """
from listener.loops import new_event_loop
async def waits():
    await asyncio.Event().wait()
loop = new_event_loop()
loop.create_task(waits(), name=said)
loop.run_until_complete(asyncio.sleep(0))
loop.close()
gc.collect()
""",
        "library.complained",
    ),
    "a library that logs": ("logging.getLogger('websockets.client').error('no %s', said)", "library.complained"),
    "a library whose text does not fit": ("logging.getLogger('x').error('%d ' + said, 'y')", "library.complained"),
    "a warning": ("warnings.warn(said, ResourceWarning, 1)", "library.complained"),
    "an exception where none can be raised": (
        """
class Noisy:
    def __del__(self):
        fails()
Noisy()
""",
        "interpreter.complained",
    ),
    "a thread that fails": (
        "thread = threading.Thread(target=fails, name=said); thread.start(); thread.join()",
        "thread.failed",
    ),
    "an exception that ends the process": ("fails()", "process.failed"),
}


@pytest.mark.parametrize(("script", "event"), COMPLAINTS.values(), ids=COMPLAINTS)
def test_it_is_one_line_without_the_secret(script: str, event: str) -> None:
    run = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-W", "always", "-c", BEFORE + script], capture_output=True, text=True, check=False
    )
    (line,) = [json.loads(line) for line in run.stderr.splitlines()]
    assert (line["event"], run.stdout) == (event, "")
    assert "***" in json.dumps(line)
    assert SECRET not in run.stderr
    assert "pass" not in run.stderr
    assert run.returncode == (1 if event == "process.failed" else 0)


def test_a_thread_that_ends_itself_is_no_complaint() -> None:
    script = BEFORE + "thread = threading.Thread(target=sys.exit, args=(3,)); thread.start(); thread.join()"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)  # noqa: S603
    assert (run.stderr, run.returncode) == ("", 0)

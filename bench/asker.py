"""
``python -m bench.asker``: attester nodes that ask a daemon as fast as it answers, each over a connection of its own.

Every claim is another one, so that no answer is a remembered one. Prints one JSON object.
"""

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orjson

from listener.devnet.accounts import PERFORMER
from listener.loops import new_event_loop

WARM_UP_S = 2.0
ANSWER = b'"data":true'


@dataclass
class Tally:
    """What all connections saw, between the warm-up and the end."""

    latencies_s: list[float] = field(default_factory=list)
    wrong: int = 0
    asked: int = 0  # in all, the warm-up too


async def ask(url: str, connections: int, seconds: float, definition: int) -> Tally:
    """Ask over so many connections for so long, after a warm-up that does not count."""
    tally = Tally()
    begins_at = time.monotonic() + WARM_UP_S
    async with asyncio.TaskGroup() as group:
        for number in range(connections):
            group.create_task(_asks(url, number, definition, (begins_at, begins_at + seconds), tally))
    return tally


async def _asks(url: str, connection: int, definition: int, counted: tuple[float, float], tally: Tally) -> None:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    number = 0
    while (begun := time.monotonic()) < counted[1]:
        number += 1
        writer.write(_request(f"{number}+{connection}", definition))
        is_right = await _answer(reader)
        tally.asked += 1
        if begun >= counted[0]:
            tally.latencies_s.append(time.monotonic() - begun)
            tally.wrong += not is_right
    writer.close()


def _request(proof: str, definition: int) -> bytes:
    body = orjson.dumps(
        {
            "proofOfTask": proof,
            "data": "0x68656c6c6f",
            "taskDefinitionId": definition,
            "performer": PERFORMER.address,
        }
    )
    head = (
        "POST /task/validate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _answer(reader: asyncio.StreamReader) -> bool:
    """Read one answer, and tell whether it is an approval."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    return head.startswith(b"HTTP/1.1 200 ") and ANSWER in body


def main() -> int:
    """Ask and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.asker")
    parser.add_argument("--url", required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--definition", type=int, required=True)
    options = parser.parse_args()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            tally = runner.run(ask(options.url, options.connections, options.seconds, options.definition))
    except* (OSError, EOFError) as errors:
        parser.exit(1, f"asker: {errors.exceptions[0]}\n")
    latencies = sorted(tally.latencies_s)
    figures = {
        "requests_per_s": len(latencies) / options.seconds,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
        "wrong": tally.wrong,
        "asked": tally.asked,
    }
    sys.stdout.write(orjson.dumps(figures).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

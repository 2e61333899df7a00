"""A client of a daemon's HTTP side."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
from following import LIMIT_S


async def ask(url: str, path: str, *, method: str = "GET", **more: Any) -> tuple[int, Any]:
    """Ask once; return the status and the JSON."""
    async with aiohttp.ClientSession() as session, session.request(method, url + path, **more) as answer:
        return answer.status, await answer.json()


async def until_answered(url: str, path: str, condition: Callable[[int, Any], bool]) -> Any:
    """Ask until the answer is as wanted; return its JSON."""
    status, answer = 0, None
    try:
        async with asyncio.timeout(LIMIT_S):
            while True:
                status, answer = await ask(url, path)
                if condition(status, answer):
                    return answer
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {LIMIT_S:.0f} s; the last answer: {status} {answer}") from None


async def ready(url: str) -> None:
    """Wait until the daemon says that it is ready."""
    await until_answered(url, "/health/ready", lambda status, _: status == 200)


async def unready(url: str, *said: str) -> Any:
    """Wait until it says that it is not, for reasons that hold these words."""

    def is_so(status: int, answer: Any) -> bool:
        return status == 503 and all(any(word in reason for reason in answer["data"]["reasons"]) for word in said)

    return await until_answered(url, "/health/ready", is_so)

"""The rate of calls halves when it is refused, and grows from there; failures fade with time."""

import time

import pytest

from listener.chains import health, pace
from listener.chains.health import Health
from listener.chains.pace import FREE_AT, SLOWEST, Pace


async def counted(calls: int) -> Pace:
    made = Pace()
    for _ in range(calls):
        assert await made.turn() == 0
    return made


async def test_nothing_is_held_back_until_it_is_refused() -> None:
    made = await counted(1000)
    assert made.rate is None
    assert made.wait_s(time.monotonic()) == 0


async def test_a_refusal_halves_the_rate_and_those_that_come_with_it_do_not() -> None:
    made = await counted(100)
    now = time.monotonic()
    for _ in range(50):
        made.refused(now, now - 0.1, None)
    assert made.rate == 50
    made.refused(now + 1, now + 0.5, None)
    assert made.rate == 25


async def test_the_rate_never_ends_below_the_slowest() -> None:
    made = await counted(2)
    for turn in range(20):
        made.refused(turn, turn, None)
    assert made.rate == SLOWEST


async def test_answers_speed_up_until_nothing_is_held_back_any_more() -> None:
    made = await counted(20)
    made.refused(0.0, 0.0, None)
    for _ in range(100_000):
        made.answered()
        if made.rate is None:
            break
    assert made.rate is None
    assert FREE_AT > 100


async def test_after_a_second_refusal_the_rate_grows_slowly() -> None:
    made = await counted(80)
    made.refused(0.0, 0.0, None)
    made.refused(1.0, 1.0, None)
    assert made.rate == 20
    for _ in range(20):  # a second of answers
        made.answered()
    assert 20.9 < (made.rate or 0) < 21.1


async def test_who_would_wait_long_is_told_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LONGEST_WAIT_S", 0.05)
    made = await counted(10)
    now = time.monotonic()
    made.refused(now, now, 60.0)
    assert 59 < await made.turn() <= 60
    assert made._waiting == 0


def test_failures_that_come_together_are_one_and_rests_grow_and_fade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.random, "uniform", lambda _low, high: high)
    tired = Health()
    assert tired.failed(100.0)
    assert not tired.failed(100.5)
    assert tired.rest_until == 101.0
    rests = []
    now = tired.rest_until
    for _ in range(8):
        tired.failed(now)
        rests.append(tired.rest_until - now)
        now = tired.rest_until
    assert rests == sorted(rests)
    assert rests[0] > 1.9
    assert max(rests) <= health.LONGEST_REST_S
    tired.failed(now + 20 * health.HALF_LIFE_S)
    assert tired.rest_until - now - 20 * health.HALF_LIFE_S < 1.01

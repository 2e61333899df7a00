"""Planned times are the same from wherever one begins, also where clocks are set forward and back."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from listener.config.trigger import ScheduleTrigger
from listener.schedule import Timetable


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def planned(timetable: Timetable, after: int) -> Iterator[int]:
    while True:
        after = timetable.next_after(after)
        yield after


def shown(timetable: Timetable, after: str, count: int) -> list[str]:
    times = islice(planned(timetable, at(after)), count)
    return [datetime.fromtimestamp(each, UTC).strftime("%d %H:%M") for each in times]


BERLIN = "Europe/Berlin"  # 2026: forward on 29 March at 01:00 UTC, back on 25 October at 01:00 UTC
FORWARD, BACK = "2026-03-28T12:00Z", "2026-10-24T12:00Z"


def test_every_counts_from_the_unix_epoch() -> None:
    timetable = Timetable.of(ScheduleTrigger(every=timedelta(seconds=30)))
    assert [timetable.next_after(moment) for moment in (0, 29, 30, 1_700_000_001)] == [30, 30, 60, 1_700_000_010]
    assert Timetable(every_s=7).next_after(1_700_000_000) % 7 == 0


def test_a_time_that_is_skipped_comes_at_once_after_the_gap() -> None:
    assert shown(Timetable(cron="30 2 * * *", timezone=BERLIN), FORWARD, 2) == ["29 01:00", "30 00:30"]


def test_a_time_that_is_repeated_comes_once_the_first_time() -> None:
    assert shown(Timetable(cron="30 2 * * *", timezone=BERLIN), BACK, 2) == ["25 00:30", "26 01:30"]


def test_a_star_follows_the_clock_through_both_passes() -> None:
    expected = ["24 23:30", "25 00:00", "25 00:30", "25 01:00", "25 01:30", "25 02:00"]
    assert shown(Timetable(cron="*/30 * * * *", timezone=BERLIN), "2026-10-24T23:00Z", 6) == expected


def test_utc_knows_no_change_of_clocks() -> None:
    assert shown(Timetable(cron="30 2 * * *"), FORWARD, 2) == ["29 02:30", "30 02:30"]


@pytest.mark.parametrize("zone", [BERLIN, "America/New_York", "Australia/Sydney", "Asia/Kathmandu", "UTC"])
@pytest.mark.parametrize(
    "cron", ["30 2 * * *", "0,30 1-3 * * *", "*/20 * * * *", "15 * * * *", "*/25 2 * * *", "0 0 * * *", "59 23 * * 6"]
)
def test_whoever_begins_at_whatever_moment_plans_the_same_times(zone: str, cron: str) -> None:
    timetable = Timetable(cron=cron, timezone=zone)
    for change in ("2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01"):
        first, last = at(f"{change}T00:00Z") - 36 * 3600, at(f"{change}T00:00Z") + 36 * 3600
        times = [each for each in islice(planned(timetable, first), 400) if each <= last]
        assert times == sorted(set(times))
        for moment in range(first, last, 557):
            ahead = [each for each in times if each > moment]
            if ahead:
                assert timetable.next_after(moment) == ahead[0]


def test_a_fingerprint_changes_with_the_schedule_alone() -> None:
    one = ScheduleTrigger(cron="0 9 * * *")
    assert Timetable.of(one).fingerprint == Timetable.of(ScheduleTrigger(cron="0 9 * * *", timezone="UTC")).fingerprint
    others = [Timetable(cron="0 8 * * *"), Timetable(cron="0 9 * * *", timezone=BERLIN), Timetable(every_s=9)]
    assert len({Timetable.of(one).fingerprint, *(each.fingerprint for each in others)}) == 4

"""Progressions of block numbers against counting them one by one."""

from hypothesis import given
from hypothesis import strategies as st

from listener.rules.progression import Progression

progressions = st.builds(Progression.of, st.integers(1, 60), st.integers(0, 200))
ranges = st.tuples(st.integers(0, 500), st.integers(-5, 300)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(progressions, ranges)
def test_numbers_within_a_range_are_those_that_hold(progression: Progression, bounds: tuple[int, int]) -> None:
    first, last = bounds
    assert list(progression.within(first, last)) == [n for n in range(first, last + 1) if progression.holds(n)]


@given(progressions, progressions, ranges)
def test_two_progressions_meet_where_both_hold(one: Progression, other: Progression, bounds: tuple[int, int]) -> None:
    both = one.meet(other)
    first, last = bounds
    expected = [n for n in range(first, last + 1) if one.holds(n) and other.holds(n)]
    assert (list(both.within(first, last)) if both else []) == expected


def test_a_wide_range_with_few_numbers_is_not_walked() -> None:
    assert len(Progression.of(10**17, 5).within(0, 10**18)) == 10


def test_an_offset_may_be_larger_than_the_step() -> None:
    assert list(Progression.of(10, 23).within(0, 30)) == [3, 13, 23]

"""A failure that happens once is told with its steps."""

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from told import Told, told

RUN = settings(max_examples=5, phases=[Phase.generate], derandomize=True, deadline=None, database=None)


class Machine(RuleBasedStateMachine):
    """Fails at its third step: always, or in its first life alone."""

    def __init__(self, seen: Told, *, always: bool) -> None:
        super().__init__()
        self.told = seen
        self.told.begin()
        self.left = 3 if always or seen.failure is None else -1

    @rule(number=st.integers(0, 9))
    @told
    def step(self, number: int) -> None:
        assert number >= 0
        self.left -= 1
        assert self.left != 0, "the third"


@pytest.mark.parametrize("always", [False, True])
def test_the_first_failure_is_raised_with_its_steps_whether_or_not_they_fail_again(*, always: bool) -> None:
    seen = Told()
    with pytest.raises(AssertionError, match="the third") as raised, seen.first_failure():
        run_state_machine_as_test(lambda: Machine(seen, always=always), settings=RUN)
    (first,) = (note for note in raised.value.__notes__ if note.startswith("first seen: "))
    assert "the third" in first
    assert [line[:12] for line in first.splitlines()[-3:]] == ["step(number="] * 3
    assert len(seen.steps) == 3


def test_what_goes_well_says_nothing() -> None:
    seen = Told()
    with seen.first_failure(), seen.step("well"):
        pass
    assert seen.failure is None

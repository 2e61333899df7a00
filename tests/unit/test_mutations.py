"""The list of protections that are taken out one by one fits the code: each edit has its place, each test is there."""

import ast
from pathlib import Path

import pytest

from chaos.mutate import Mutation, mutated, mutations

PROJECT = Path(__file__).parents[2]
ALL = mutations()


@pytest.mark.parametrize("mutation", ALL, ids=[mutation.name for mutation in ALL])
def test_what_is_taken_out_stands_in_the_code_once_and_what_is_left_is_python(mutation: Mutation) -> None:
    for file, text in mutated(mutation).items():
        ast.parse(text, file)
        assert text != (PROJECT / file).read_text()
    for test in mutation.tests:
        file, _, function = test.partition("::")
        assert f"def {function}(" in (PROJECT / file).read_text() if function else (PROJECT / file).is_file()


def test_no_protection_is_listed_twice() -> None:
    assert len({mutation.name for mutation in ALL}) == len(ALL)

"""Loading task modules: the folder's own first, and one line for each way in which a module cannot be used."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from listener.config.election import Custom, Fixed
from listener.errors import BadBody, ConfigError
from listener.handlers import Handler, load, read_body

EXECUTE = "async def execute(ctx): ...\n"
SETTINGS = """
from pydantic import BaseModel, Field
class Settings(BaseModel):
    pair: str = "ETHUSDT"
    digits: int = Field(default=2, ge=0)
"""


@dataclass(frozen=True)
class Rule:
    """All that is asked of a rule."""

    task: str
    name: str = "hourly-price"
    task_definition_id: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    election: Any = None


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Forget what a test imported: the next one has a folder of its own with the same names in it."""
    path, before = list(sys.path), _task_modules()
    yield
    sys.path[:] = path
    for name in _task_modules():
        del sys.modules[name]
    sys.modules.update(before)


def _task_modules() -> dict[str, ModuleType]:
    ours = ("tasks", "lonely", "shared_tasks")
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ours}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks").mkdir()
    return tmp_path


def loaded(folder: Path, source: str, **rule: Any) -> Handler:
    (folder / "tasks/price.py").write_text(source)
    return load([Rule("tasks.price", **rule)], folder)["hourly-price"]


def refused(folder: Path, source: str, **rule: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, source, **rule)
    return str(caught.value)


def test_a_module_gives_its_functions_and_settings(folder: Path) -> None:
    source = f"{SETTINGS}\nasync def execute(ctx): ...\nasync def validate(ctx, claim): ...\n"
    handler = loaded(folder, source, settings={"pair": "BTCUSDT"})
    assert (handler.module, handler.is_async) == ("tasks.price", True)
    assert handler.settings.model_dump() == {"pair": "BTCUSDT", "digits": 2}
    assert (handler.execute.__name__, handler.validate.__name__) == ("execute", "validate")


BODY = """
from pydantic import BaseModel, ConfigDict, field_validator
class Body(BaseModel):
    model_config = ConfigDict(strict=True)
    amount: int
    @field_validator("amount")
    def _lucky(cls, value):
        if value == 13:
            raise RuntimeError("secret")
        return value
"""


def test_a_modules_body_reads_what_a_request_says_and_names_what_does_not_fit(folder: Path) -> None:
    model = loaded(folder, BODY + EXECUTE).body
    assert read_body(model, f'{{"amount": {2**255}}}').amount == 2**255
    for text, message in (
        ('{"amount": "1"}', "body.amount: should be a valid integer"),
        ("{}", "body.amount: Field required"),
        ('{"amount": 13}', "Body in tasks.price raised RuntimeError"),
    ):
        with pytest.raises(BadBody) as caught:
            read_body(model, text)
        assert str(caught.value) == message


def test_without_a_body_a_handler_gets_the_plain_value(folder: Path) -> None:
    assert loaded(folder, EXECUTE).body is None
    assert read_body(None, f'{{"amount": {2**255}}}') == {"amount": 2**255}


def test_a_body_that_is_no_model_is_refused(folder: Path) -> None:
    expected = "rule hourly-price: Body in tasks.price is not a pydantic model; write class Body(BaseModel)"
    assert refused(folder, f"class Body: ...\n{EXECUTE}") == expected


def test_an_election_of_the_users_own_is_imported_from_where_the_rule_says(folder: Path) -> None:
    (folder / "tasks/turns.py").write_text("async def elect(ctx): ...\n")
    handler = loaded(folder, EXECUTE, election=Custom(function="tasks.turns:elect"))
    assert handler.elect.__name__ == "elect"
    assert loaded(folder, EXECUTE).elect is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("async def elects(ctx): ...\n", "no function elect in tasks.turns; did you mean elects?"),
        ("def elect(ctx): ...\n", "elect in tasks.turns is no coroutine function; write async def elect(ctx) -> str"),
        (
            "async def elect(): ...\n",
            "elect() in tasks.turns cannot be called as elect(ctx): too many positional arguments",
        ),
    ],
)
def test_an_election_that_cannot_be_called_is_refused(folder: Path, source: str, message: str) -> None:
    (folder / "tasks/turns.py").write_text(source)
    said = refused(folder, EXECUTE, election=Custom(function="tasks.turns:elect"))
    assert said == f"rule hourly-price: election: {message}"


def test_rules_of_one_validated_definition_elect_alike(folder: Path) -> None:
    (folder / "tasks/price.py").write_text("async def execute(ctx): ...\nasync def validate(ctx, claim): ...\n")
    fixed = [Fixed(operators=(f"0x{digit * 40}",)) for digit in "12"]
    rules = [Rule("tasks.price", name=str(place), election=each) for place, each in enumerate(fixed)]
    assert load([rules[0], Rule("tasks.price", name="2", election=fixed[0])], folder)
    with pytest.raises(ConfigError, match="another election"):
        load(rules, folder)


def test_a_module_needs_no_more_than_execute_and_it_may_block(folder: Path) -> None:
    handler = loaded(folder, "def execute(ctx): ...\n")
    assert (handler.is_async, handler.validate, handler.settings) == (False, None, None)


@pytest.mark.parametrize("has_init", [True, False])
def test_the_folder_comes_before_an_installed_package_of_that_name(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_init: bool,  # noqa: FBT001 -- a case
) -> None:
    installed = tmp_path / "site"
    (installed / "tasks").mkdir(parents=True)
    (installed / "tasks/__init__.py").touch()
    (installed / "tasks/price.py").write_text(EXECUTE + "WHERE = 'installed'\n")
    (installed / "tasks/other.py").write_text(EXECUTE)
    monkeypatch.syspath_prepend(str(installed))
    assert load([Rule("tasks.price")], installed)["hourly-price"].execute.__globals__["WHERE"] == "installed"
    if has_init:
        (folder / "tasks/__init__.py").touch()
    handler = loaded(folder, EXECUTE + "WHERE = 'own'\n")
    assert handler.execute.__globals__["WHERE"] == "own"
    with pytest.raises(ConfigError, match=r"no module tasks\.other; did you mean tasks\.price"):
        load([Rule("tasks.othre"), Rule("tasks.other")], folder)


def test_an_installed_package_is_found_where_the_folder_has_none(folder: Path, tmp_path: Path) -> None:
    installed = tmp_path / "site"
    installed.mkdir()
    (installed / "shared_tasks.py").write_text(EXECUTE)
    sys.path.append(str(installed))
    assert load([Rule("shared_tasks")], folder)["hourly-price"].module == "shared_tasks"


def test_a_single_module_beside_the_configuration_is_found(folder: Path) -> None:
    (folder / "lonely.py").write_text(EXECUTE)
    assert load([Rule("lonely")], folder)["hourly-price"].module == "lonely"


def test_modules_of_a_folder_import_each_other(folder: Path) -> None:
    (folder / "tasks/source.py").write_text("ANSWER = 42\n")
    handler = loaded(folder, f"from tasks.source import ANSWER\n{EXECUTE}")
    assert handler.execute.__globals__["ANSWER"] == 42


def test_rules_of_one_task_share_the_module(folder: Path) -> None:
    (folder / "tasks/price.py").write_text(EXECUTE)
    found = load([Rule("tasks.price", "one"), Rule("tasks.price", "two", 1)], folder)
    assert found["one"].execute is found["two"].execute


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def fetch(): ...\n", "no function execute in tasks.price; it has: fetch"),
        (
            "from json import loads\ndef _hidden(): ...\n",
            "no function execute in tasks.price; it has: no function at all",
        ),
        ("execute = 3\n", "execute in tasks.price is not a function; write async def execute(ctx)"),
        (
            "async def execute(): ...\n",
            "execute() in tasks.price cannot be called as execute(ctx): too many positional arguments",
        ),
        (
            EXECUTE + "async def validate(ctx): ...\n",
            "validate(ctx) in tasks.price cannot be called as validate(ctx, claim): too many positional arguments",
        ),
        ("x = 1\nraise ValueError('two\\nlines')\n", "tasks.price cannot be imported: {file}:2: ValueError: two"),
        (
            "def f():\n    return 1 / 0\nf()\n",
            "tasks.price cannot be imported: {file}:2: ZeroDivisionError: division by zero",
        ),
        (
            "import nowhere\n",
            "tasks.price cannot be imported: {file}:1: ModuleNotFoundError: No module named 'nowhere'",
        ),
        ("import sys\nsys.exit(3)\n", "tasks.price cannot be imported: {file}:2: SystemExit: 3"),
        ("def execute(ctx:\n", "tasks.price cannot be imported: {file}:1: SyntaxError: '(' was never closed"),
    ],
)
def test_a_module_that_cannot_be_used_says_why_in_one_line(folder: Path, source: str, message: str) -> None:
    expected = message.replace("{file}", str(folder / "tasks/price.py"))
    assert refused(folder, source) == f"rule hourly-price: {expected}"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("tasks.prise", "no module tasks.prise; did you mean tasks.price?"),
        ("task.price", "no module task.price; did you mean tasks.price?"),
        ("tasks.price.deep", "no module tasks.price.deep; did you mean tasks.price?"),
    ],
)
def test_a_module_that_is_not_there_names_the_nearest(folder: Path, task: str, message: str) -> None:
    (folder / "tasks/price.py").write_text(EXECUTE)
    with pytest.raises(ConfigError) as caught:
        load([Rule("tasks.price", "fine", 1), Rule(task)], folder)
    assert str(caught.value) == f"rule hourly-price: {message}"


def test_a_file_with_the_name_of_a_standard_module_is_refused(folder: Path) -> None:
    (folder / "json.py").write_text(EXECUTE)
    with pytest.raises(ConfigError) as caught:
        load([Rule("json")], folder)
    expected = (
        f"rule hourly-price: {folder}/json.py has the name of a module that Python or the listener needs; rename it"
    )
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        (EXECUTE, {"pair": "x"}, "settings: tasks.price has no Settings to take pair; write one, or leave them out"),
        (SETTINGS + EXECUTE, {"piar": "x"}, 'settings: unknown key "piar"; did you mean pair?'),
        (SETTINGS + EXECUTE, {"digits": "secret"},
         "settings.digits: should be a valid integer, unable to parse string as an integer"),
        (SETTINGS + EXECUTE, {"pair": 1, "digits": -1},
         "settings.pair: should be a valid string\nsettings.digits: should be greater than or equal to 0"),
        (EXECUTE + "Settings = dict\n", {},
         "settings: Settings in tasks.price is not a pydantic model; write class Settings(BaseModel)"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_named_key_by_key(
    folder: Path, source: str, settings: dict[str, Any], message: str
) -> None:
    expected = "\n".join(f"rule hourly-price: {line}" for line in message.splitlines())
    assert refused(folder, source, settings=settings) == expected


def test_a_validator_that_raises_is_named_without_its_values(folder: Path) -> None:
    source = """
from pydantic import BaseModel, field_validator
class Settings(BaseModel):
    token: str
    @field_validator("token")
    @classmethod
    def _look(cls, value): raise RuntimeError(value)
async def execute(ctx): ...
"""
    message = "rule hourly-price: settings: Settings in tasks.price raised RuntimeError"
    assert refused(folder, source, settings={"token": "secret"}) == message


def test_each_rule_that_cannot_run_has_its_line(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load([Rule("tasks.a", "one"), Rule("tasks.b", "two")], folder)
    assert [line.partition(";")[0] for line in str(caught.value).splitlines()] == [
        "rule one: no module tasks.a",
        "rule two: no module tasks.b",
    ]


@pytest.mark.parametrize(
    ("other", "is_refused"),
    [
        (Rule("tasks.price", "two", settings={"pair": "x"}), True),
        (Rule("tasks.report", "two"), True),
        (Rule("tasks.price", "two", settings={"pair": "ETHUSDT"}), False),  # what it is by default
        (Rule("tasks.report", "two", 1), False),
    ],
)
def test_rules_of_one_definition_must_agree_on_who_validates(
    folder: Path,
    other: Rule,
    is_refused: bool,  # noqa: FBT001 -- a case
) -> None:
    (folder / "tasks/price.py").write_text(SETTINGS + EXECUTE + "async def validate(ctx, claim): ...\n")
    (folder / "tasks/report.py").write_text(EXECUTE)
    rules = [Rule("tasks.price", "one"), other]
    if is_refused:
        with pytest.raises(ConfigError, match="rule two: task_definition_id 0 is also that of rule one"):
            load(rules, folder)
    else:
        assert load(rules, folder).keys() == {"one", "two"}


def test_rules_of_one_definition_that_nobody_validates_may_differ(folder: Path) -> None:
    for name in ("price", "report"):
        (folder / f"tasks/{name}.py").write_text(EXECUTE)
    assert load([Rule("tasks.price", "one"), Rule("tasks.report", "two")], folder)

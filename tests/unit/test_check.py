"""``listener check --offline``: one line a check on stdout, one line a problem on stderr, and the exit code."""

import json
import sys
from pathlib import Path

import pytest

from listener import cli

ROOT = Path(__file__).parents[2]
KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
GOOD = f"""
[performer]
key = {{ env = "PERFORMER_KEY" }}
[chains.l2]
endpoints = ["ws://127.0.0.1:8545"]
chain_id = 31337
[contracts.intent_sender]
address = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
abi = "{ROOT}/abi/IntentSender.json"
[aggregator]
url = "http://127.0.0.1:8555"
[[rules]]
name = "intents"
task = "check_sample"
task_definition_id = 0
trigger = {{ type = "event", contract = "intent_sender", event = "IntentSent" }}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PERFORMER_KEY", KEY)
    monkeypatch.delitem(sys.modules, "check_sample", raising=False)
    (tmp_path / "config.toml").write_text(GOOD)
    (tmp_path / "check_sample.py").write_text("async def execute(ctx): ...\n")


class Ran:
    """What a command left: its exit code and both streams."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *args: str) -> None:
        monkeypatch.setattr(sys, "argv", ["listener", "check", *args])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        self.code = ended.value.code or 0
        self.out, self.err = capsys.readouterr()


def test_all_is_well(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Ran(capsys, monkeypatch, "--offline")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "ok       config   config.toml: 1 chain, 1 contract, 1 rule",
        f"ok       key      signs as {ADDRESS}",
        "ok       rule     intents: IntentSent(uint256,uint256,uint256,address,bytes) of intent_sender on l2",
        "ok       handler  intents: check_sample (execute)",
    ]


@pytest.mark.parametrize(
    ("trigger", "says"),
    [
        ('{ type = "http" }', "when POST /task/execute asks for it, on l2"),
        ('{ type = "schedule", every = "2m" }', "every 120 s on l2"),
        ('{ type = "schedule", cron = "0 9 * * 1-5" }', '"0 9 * * 1-5" in UTC, on l2'),
        (
            '{ type = "schedule", cron = "0 9 * * *", timezone = "Asia/Tokyo", chain = "l2" }',
            '"0 9 * * *" in Asia/Tokyo, on l2',
        ),
    ],
)
def test_a_rule_says_when_no_block_is_its_cause(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trigger: str, says: str
) -> None:
    before, _, _ = GOOD.rpartition("trigger = ")
    Path("config.toml").write_text(f"{before}trigger = {trigger}\n")
    ran = Ran(capsys, monkeypatch, "--offline")
    assert (ran.code, ran.err) == (0, "")
    assert f"ok       rule     intents: {says}" in ran.out.splitlines()


def test_a_key_that_is_not_there_is_a_warning_offline(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERFORMER_KEY")
    ran = Ran(capsys, monkeypatch, "--offline")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[1:3] == [
        "warning  key      config.toml: performer.key: environment variable PERFORMER_KEY is not set",
        "                  export PERFORMER_KEY=…",
    ]


def test_a_key_that_is_not_there_is_a_failure_online(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERFORMER_KEY")
    ran = Ran(capsys, monkeypatch)
    message = "config.toml: performer.key: environment variable PERFORMER_KEY is not set; export PERFORMER_KEY=…"
    assert (ran.code, ran.err) == (2, f"listener: {message}\n")


def test_what_needs_the_network_is_not_available_yet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = Ran(capsys, monkeypatch)
    assert ran.code == 1
    assert ran.err == "listener: check of chains and aggregator: not available yet; use listener check --offline\n"


def test_every_problem_is_one_line_on_stderr_and_the_exit_code_is_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("config.toml").write_text(GOOD.replace("IntentSent", "IntentSnt") + "settings = { a = 1 }\n")
    ran = Ran(capsys, monkeypatch, "--offline")
    assert ran.code == 2
    assert ran.err.splitlines() == [
        f"listener: rule intents: no event IntentSnt in {ROOT}/abi/IntentSender.json; did you mean IntentSent?",
        "rule intents: settings: check_sample has no Settings to take a; write one, or leave them out",
    ]
    assert "failed   rule     rule intents: no event IntentSnt" in ran.out


def test_a_key_of_another_address_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
    Path("config.toml").write_text(GOOD.replace("[performer]", f'[performer]\naddress = "{other}"'))
    ran = Ran(capsys, monkeypatch, "--offline")
    assert ran.code == 2
    assert f"performer.address: {other} is not the key's address {ADDRESS}" in ran.err
    assert KEY[2:] not in ran.out + ran.err


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("check_sample.py").write_text("def fetch(): ...\n")
    ran = Ran(capsys, monkeypatch, "--offline", "--json")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [(row["check"], row["status"]) for row in rows] == [
        ("config", "ok"), ("key", "ok"), ("rule", "ok"), ("handler", "failed"),
    ]  # fmt: skip
    assert rows[3]["detail"] == "rule intents: no function execute in check_sample"
    assert rows[3]["remedy"] == "it has: fetch"
    assert rows[0]["remedy"] is None


def test_a_configuration_that_cannot_be_read_ends_the_check(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("config.toml").write_text("[performer]\nkeystore = 1\n[http]\nbnid = 1\n")
    ran = Ran(capsys, monkeypatch, "--offline")
    assert ran.code == 2
    assert len(ran.out.splitlines()) == len(ran.err.splitlines()) + 1 == 3  # one of them has a remedy below it


def test_the_configuration_that_comes_with_the_project_is_good(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = Ran(capsys, monkeypatch, "--offline", "--config", str(ROOT / "config.toml"))
    assert (ran.code, ran.err) == (0, "")
    assert "intents: tasks.intent (execute" in ran.out


def test_an_attester_is_asked_for_no_key_and_no_aggregator_but_for_a_validator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERFORMER_KEY")
    (tmp_path / "config.toml").write_text(GOOD.replace('[aggregator]\nurl = "http://127.0.0.1:8555"\n', ""))
    assert Ran(capsys, monkeypatch, "--offline").code == 2
    ran = Ran(capsys, monkeypatch, "--offline", "--role", "attester")
    assert ran.code == 2
    assert ran.err == "listener: no rule's task has a function validate, so there is nothing to judge; write one\n"
    (tmp_path / "check_sample.py").write_text("async def execute(ctx): ...\nasync def validate(ctx, claim): ...\n")
    del sys.modules["check_sample"]
    ran = Ran(capsys, monkeypatch, "--offline", "--role", "attester")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split()[1] for line in ran.out.splitlines()] == ["config", "rule", "handler"]
    assert Ran(capsys, monkeypatch, "--offline", "--role", "judge").code == 2

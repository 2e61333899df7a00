"""
The configuration: every bad sample says exactly what its head says, and good ones mean what the manual says.

A sample in ``samples/config`` opens with one ``# says: …`` line for each line of the error.
"""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from listener.config import Chain, Config, Hold, load, matchers
from listener.config.election import RoundRobin
from listener.errors import ConfigError
from listener.rules.triggers import Blocks, EventTrigger

SAMPLES = Path(__file__).parents[1] / "samples/config"
ABI = Path(__file__).parents[2] / "abi/IntentSender.json"
KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
ENVIRON = {"PERFORMER_KEY": KEY}

GOOD = f"""
[performer]
key = {{ env = "PERFORMER_KEY" }}
[chains.l2]
endpoints = ["ws://127.0.0.1:8545", {{ env = "RPC" }}]
chain_id = 31337
[contracts.intent_sender]
chain = "l2"
address = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
abi = "{ABI}"
[aggregator]
url = "http://127.0.0.1:8555"
[[rules]]
name = "intents"
task = "tasks.intent"
task_definition_id = 7
trigger = {{ type = "event", contract = "intent_sender", event = "IntentSent", where = {{ chainId = 10 }} }}
blocks = {{ every = 20 }}
max_age = "10m"
[[rules]]
name = "tenth"
task = "tasks.report"
task_definition_id = 8
trigger = {{ type = "block", every = 10 }}
"""


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_a_bad_sample_is_refused_with_exactly_what_its_head_says(sample: Path) -> None:
    says = [line.removeprefix("# says: ") for line in sample.read_text().splitlines() if line.startswith("# says: ")]
    with pytest.raises(ConfigError) as caught:
        matchers(load(sample, ENVIRON))
    message = str(caught.value).replace(f"{sample}: ", "").replace(str(SAMPLES), "{here}")
    assert message.splitlines() == says


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_no_message_holds_a_secret(sample: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        matchers(load(sample, ENVIRON))
    said = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert not any(secret in said for secret in (KEY[2:], str(int(KEY, 16)), "59c6995e", "user", "word@"))


def test_a_good_configuration_is_the_value_we_work_with(write: Write) -> None:
    config = load(write(GOOD), {**ENVIRON, "RPC": "https://host/v3/abc"})
    chain, intents = config.chains["l2"], config.rules[0]
    assert config.performer.key.get_secret_value() == KEY
    assert (chain.name, chain.chain_id, chain.start) == ("l2", 31337, "latest")
    assert [url.get_secret_value() for url in chain.endpoints] == ["ws://127.0.0.1:8545", "https://host/v3/abc"]
    assert config.contracts["intent_sender"].address == "0x5FbDB2315678afecb367f032d93F642f64180aa3"
    assert intents.trigger == EventTrigger(contract="intent_sender", event="IntentSent", where={"chainId": 10})
    assert (intents.blocks, intents.task_definition_id, intents.max_age) == (Blocks(every=20), 7, timedelta(minutes=10))
    assert config.chain_of(intents) is config.chain_of(config.rules[1]) is chain


def test_defaults_are_those_of_the_manual(write: Write) -> None:
    path = write(GOOD)
    config = load(path, {**ENVIRON, "RPC": "ws://host"})
    rule, chain = config.rules[1], config.chains["l2"]
    assert (rule.timeout_s, rule.max_attempts, rule.concurrency, rule.max_age, rule.settings) == (30, 5, 8, None, {})
    assert (config.aggregator.timeout_s, config.aggregator.in_flight) == (5, 32)
    assert config.aggregator.give_up_after == timedelta(hours=1)
    assert (chain.silence, chain.final_after, chain.bloom) == (timedelta(seconds=30), 64, True)
    assert (chain.max_lag, chain.quorum) == (timedelta(minutes=1), 1)
    assert (config.logs.level, config.logs.format, config.performer.signature) == ("info", "auto", "ecdsa")
    assert config.journal.path == path.parent / "listener.db"
    http = config.http
    assert (http.bind, http.validate_bind, http.token, http.healthcheck) == ("127.0.0.1:4003", None, None, False)
    assert (http.max_body_bytes, http.max_requests, http.max_connections) == (262_144, 128, 256)
    assert (http.requests_per_s, http.read_timeout_s, http.wait_s) == (5000, 10, 30)
    assert [rule.reorg_policy for rule in config.rules] == ["once", "rerun"]


def test_rules_become_matchers_in_their_order(write: Write) -> None:
    first, second = matchers(load(write(GOOD), {**ENVIRON, "RPC": "ws://host"}))
    assert (first.name, first.chain, first.blocks) == ("intents", "l2", Blocks(every=20))
    assert first.filter.address == "0x5fbdb2315678afecb367f032d93f642f64180aa3"
    assert [condition.argument for condition in first.filter.conditions] == ["chainId"]
    assert (second.name, second.filter, list(second.boundaries(0, 25))) == ("tenth", None, [0, 10, 20])


@pytest.mark.parametrize(
    ("chain", "rule", "expected"),
    [
        ({}, "", Hold()),
        ({"confirmations": 2}, "", Hold(confirmations=2)),
        ({"confirmations": 2}, "confirmations = 0", Hold()),
        ({"confirmations": 2}, 'finality = "latest"', Hold()),
        ({"finality": "safe"}, "", Hold(finality="safe")),
        ({"finality": "safe"}, "confirmations = 3", Hold(confirmations=3)),
        ({"confirmations": 2}, 'finality = "finalized"', Hold(finality="finalized")),
    ],
)
def test_a_rule_holds_its_tasks_as_it_says_or_as_its_chain_says(
    write: Write, chain: dict[str, Any], rule: str, expected: Hold
) -> None:
    config = load(write(GOOD.replace('max_age = "10m"', rule)), {**ENVIRON, "RPC": "ws://host"})
    found = Chain(name="l2", endpoints=["ws://host"], chain_id=1, **chain)
    assert config.rules[0].hold(found) == expected


@pytest.mark.parametrize("trigger", ['{ type = "http" }', '{ type = "schedule", every = "30s" }'])
def test_what_no_block_makes_waits_for_no_block_whatever_its_chain_says(write: Write, trigger: str) -> None:
    config = load(write(GOOD.replace('{ type = "block", every = 10 }', trigger)), {**ENVIRON, "RPC": "ws://host"})
    asked = config.rules[1]
    chain = Chain(name="l2", endpoints=["ws://host"], chain_id=1, finality="finalized")
    assert (asked.hold(chain), config.rules[0].hold(chain)) == (Hold(), Hold(finality="finalized"))
    assert [matcher.name for matcher in matchers(config)] == ["intents"]
    assert config.chain_of(asked).name == "l2"


def test_an_election_and_its_contract_are_the_values_we_work_with(write: Write) -> None:
    center = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
    election = f'election = {{ type = "round_robin", span = 20, list = "ids" }}\n[attestation]\naddress = "{center}"\n'
    config = load(write(GOOD + election), {**ENVIRON, "RPC": "ws://host"})
    assert [rule.election for rule in config.rules] == [None, RoundRobin(span=20, list="ids")]
    assert (config.attestation.address, config.attestation_chain) == (center, config.chains["l2"])
    assert config.attestation.deadline == timedelta(hours=1)


def test_a_configuration_cannot_be_changed(write: Write) -> None:
    config = load(write(GOOD), {**ENVIRON, "RPC": "ws://host"})
    with pytest.raises(ValidationError):
        config.rules[0].timeout_s = 1


def test_nothing_that_is_printed_holds_a_secret(write: Write) -> None:
    urls = {"RPC": "https://user:word@rpc.example:8443/v3/0123456789abcdef0123456789abcdef?key=sesame"}
    config = load(write(GOOD), {**ENVIRON, **urls})
    shown = f"{config} {config!r} {config.model_dump_json()} {config.chains['l2'].endpoints[1]}"
    assert not any(secret in shown for secret in (KEY[2:], "user", "word", "0123456789", "sesame"))
    assert config.chains["l2"].endpoints[1].redacted == "https://rpc.example:8443/v3/…?…"


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("ws://127.0.0.1:8545", "ws://127.0.0.1:8545"),
        ("wss://host/ws/v3/AbCdEf0123", "wss://host/ws/v3/…"),
        ("http://u:p@[::1]:80/rpc/eth-mainnet/", "http://[::1]:80/rpc/eth-mainnet/"),
        ("https://host/?apikey=1#x", "https://host/?…"),
    ],
)
def test_a_redacted_url_keeps_what_an_operator_recognises(url: str, redacted: str) -> None:
    endpoint = Chain(name="l2", endpoints=[url], chain_id=1).endpoints[0]
    assert str(endpoint) == endpoint.redacted == redacted
    assert endpoint.get_secret_value() == url


@pytest.mark.parametrize("text", [KEY, KEY[2:], KEY.upper().replace("X", "x"), f"  {KEY}\n"])
def test_a_key_may_be_written_with_or_without_0x_and_in_any_case(write: Write, text: str) -> None:
    config = load(write(GOOD), {"PERFORMER_KEY": text, "RPC": "ws://host"})
    assert config.performer.key.get_secret_value() == KEY


@pytest.mark.parametrize("text", ["0x" + "00" * 32, "0x" + "ff" * 32, KEY[:-1]])
def test_a_number_that_is_no_key_of_the_curve_is_refused(write: Write, text: str) -> None:
    with pytest.raises(ConfigError, match=r"performer\.key: not a private key"):
        load(write(GOOD), {"PERFORMER_KEY": text, "RPC": "ws://host"})


def test_without_require_key_a_key_that_is_not_there_is_none(write: Write) -> None:
    for text in ('{ env = "PERFORMER_KEY" }', '{ file = "nowhere" }'):
        config = load(write(GOOD.replace('{ env = "PERFORMER_KEY" }', text)), {"RPC": "ws://host"}, require_key=False)
        assert config.performer.key is None
    silent = GOOD.replace('[performer]\nkey = { env = "PERFORMER_KEY" }\n', "")
    assert load(write(silent), {"RPC": "ws://host"}, require_key=False).performer is None


def test_a_key_is_read_from_a_file_beside_the_configuration(write: Write, tmp_path: Path) -> None:
    key_file(tmp_path / "key", 0o600)
    path = write(GOOD.replace('{ env = "PERFORMER_KEY" }', '{ file = "key" }'))
    assert load(path, {"RPC": "ws://host"}).performer.key.get_secret_value() == KEY


def test_a_key_file_that_everyone_can_read_is_refused_with_the_command_that_mends_it(
    write: Write, tmp_path: Path
) -> None:
    path, file = write(GOOD.replace('{ env = "PERFORMER_KEY" }', '{ file = "key" }')), tmp_path / "key"
    key_file(file, 0o644)
    with pytest.raises(ConfigError) as caught:
        load(path, {"RPC": "ws://host"}, require_key=False)
    message = str(caught.value)
    assert message == f"{path}: performer.key: {file} can be read by everyone on this machine; run: chmod 600 {file}"
    subprocess.run(message.partition("run: ")[2].split(), check=True)  # noqa: S603 -- our own words
    assert load(path, {"RPC": "ws://host"}).performer.key.get_secret_value() == KEY


def test_a_key_file_where_the_platform_guards_it_may_be_readable(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(GOOD.replace('{ env = "PERFORMER_KEY" }', '{ file = "credentials/key" }'))
    (tmp_path / "credentials").mkdir()
    key_file(tmp_path / "credentials/key", 0o444)
    environ = {"RPC": "ws://host"}
    assert load(path, {**environ, "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}).performer.key
    with pytest.raises(ConfigError, match="chmod 600"):
        load(path, environ)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((0,) * 8 + (os.ST_RDONLY, 255)))
    assert load(path, environ).performer.key


def test_relative_paths_start_at_the_configuration(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "abi").mkdir()
    (tmp_path / "abi/X.json").write_text(json.dumps(json.loads(ABI.read_text())))
    text = GOOD.replace(str(ABI), "abi/X.json") + '[journal]\nurl = "sqlite:///data/tasks.db"\n'
    monkeypatch.chdir("/")
    config = load(write(text), {**ENVIRON, "RPC": "ws://host"})
    assert matchers(config)
    assert config.journal.path == tmp_path / "data/tasks.db"
    assert config.journal.url.get_secret_value() == f"sqlite:///{tmp_path}/data/tasks.db"


@pytest.mark.parametrize(
    ("url", "shown", "secret"),
    [
        ("postgresql://ann:pass-word-1@db.example:5433/tasks_2", "postgresql://db.example:5433/tasks_2", "pass-word-1"),
        ("postgres://ann:a%2Fsecret%40@db/tasks?sslmode=require", "postgres://db/tasks", "a/secret@"),
        ("postgresql:///tasks?host=/run/postgresql&password=pass-word-1", "postgresql:///tasks", "pass-word-1"),
    ],
)
def test_a_journal_may_be_on_a_server_whose_password_is_the_only_secret_in_its_url(
    write: Write, url: str, shown: str, secret: str
) -> None:
    journal = (loaded := load(write(f'[journal]\nurl = "{url}"\n'), {})).journal
    assert journal.place == journal.url
    assert journal.url.get_secret_value() == url
    assert str(journal.url) == shown
    assert {url, secret} <= set(loaded.secrets)
    assert "ann" not in loaded.secrets, "a name that ordinary lines may hold"
    with pytest.raises(ConfigError, match=r"it is no file; use PostgreSQL's own tools"):
        assert journal.path


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.toml", "nowhere.toml: No such file or directory; name the file with --config PATH"),
        (".", ".: Is a directory; name the file with --config PATH"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(path: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Path(path), {})
    assert str(caught.value) == message


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"[logs]\n\xff")
    with pytest.raises(ConfigError, match="not UTF-8 text at byte 7"):
        load(tmp_path / "c.toml", {})


def test_an_empty_file_is_a_configuration_without_rules(write: Write) -> None:
    folder = write("").parent
    journal, proofs = {"url": f"sqlite:///{folder}/listener.db"}, {"folder": f"{folder}/proofs"}
    assert load(write(""), {}) == Config(journal=journal, proofs=proofs, logs={})


def test_a_journal_in_a_file_leaves_psycopg_alone(tmp_path: Path) -> None:
    """It takes 10 MB that nobody needs there."""
    code = (
        "import asyncio, pathlib, sys, listener.app\n"
        "from listener.journal import Journal\n"
        "async def main():\n"
        "    journal = await Journal.open(pathlib.Path('x.db'), {})\n"
        "    await journal.recover({})\n"
        "    await journal.close()\n"
        "asyncio.run(main())\n"
        "sys.exit('psycopg' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path)  # noqa: S603 -- our own code
    assert done.returncode == 0


def test_loading_a_configuration_leaves_web3_alone() -> None:
    code = "import sys, listener.config, listener.handlers; sys.exit('web3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 -- our own code


def key_file(path: Path, mode: int) -> None:
    path.write_text(f"{KEY}\n")
    path.chmod(mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_the_secrets_of_the_proof_store_are_known_to_the_redactor(write: Write) -> None:
    pinata = '[proofs]\nbackend = "pinata"\ntoken = "jwt-of-pinata"\ngateways = ["http://h/ipfs?t=of-a-gateway-7"]\n'
    assert {"jwt-of-pinata", "of-a-gateway-7"} <= set(load(write(pinata), {}).secrets)


def test_a_credential_that_is_wrong_is_refused_without_being_shown(write: Write) -> None:
    for wrong in ("short", "two words here", "ümlaut-token"):
        with pytest.raises(ConfigError, match=r"proofs\.token: it is no credential") as caught:
            load(write(f'[proofs]\nbackend = "pinata"\ntoken = "{wrong}"\n'), {})
        assert wrong not in str(caught.value)

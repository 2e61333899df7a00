"""What the environment overrides, what it fills, and what it may not say."""

from pathlib import Path

import pytest

from listener.config import load
from listener.errors import ConfigError

KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
OTHER_KEY = "0x" + "11" * 32
CHAIN = '[chains.l-2]\nendpoints = ["ws://written"]\nchain_id = 31337\n'
SILENT_CHAIN = "[chains.l2]\nchain_id = 31337\n"
CENTER = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
TOO_FEW = "chains.l-2: quorum = 2 needs as many endpoints, and there are 1; add endpoints of other nodes, or lower it"


def loaded(tmp_path: Path, text: str, environ: dict[str, str]):  # noqa: ANN201 -- a Config, whose parts may be None
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load(path, environ, require_key=False)


def test_a_variable_overrides_what_is_written(tmp_path: Path) -> None:
    environ = {
        "LISTENER__CHAINS__L_2__CHAIN_ID": "10",
        "LISTENER__CHAINS__L_2__ENDPOINTS": '["ws://one", {"env": "TWO"}]',
        "LISTENER__CHAINS__L_2__START": "latest",
        "LISTENER__CHAINS__L_2__BLOOM": "false",
        "LISTENER__CHAINS__L_2__SILENCE": "90s",
        "LISTENER__AGGREGATOR__URL": "http://aggregator:8545",
        "LISTENER__AGGREGATOR__TIMEOUT_S": "2.5",
        "LISTENER__PERFORMER__KEY": OTHER_KEY[2:],  # digits alone stay text
        "LISTENER__LOGS__LEVEL": "debug",
        "TWO": "ws://two",
        "LISTENER_TOKEN": "not ours",
    }
    config = loaded(tmp_path, CHAIN + "start = 5\n", environ)
    chain = config.chains["l-2"]
    assert (chain.chain_id, chain.start, chain.bloom, chain.silence.seconds) == (10, "latest", False, 90)
    assert [url.get_secret_value() for url in chain.endpoints] == ["ws://one", "ws://two"]
    assert (config.aggregator.url.get_secret_value(), config.aggregator.timeout_s) == ("http://aggregator:8545", 2.5)
    assert config.performer.key.get_secret_value() == OTHER_KEY
    assert config.logs.level == "debug"


def test_a_variable_may_name_the_file_or_variable_of_a_secret(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://from-file\n")
    environ = {"LISTENER__PERFORMER__KEY__ENV": "K", "K": KEY, "LISTENER__AGGREGATOR__URL__FILE": "url"}
    config = loaded(tmp_path, "", environ)
    assert config.performer.key.get_secret_value() == KEY
    assert config.aggregator.url.get_secret_value() == "http://from-file"


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("LISTENER__CHAIN__L_2__CHAIN_ID", 'no table "CHAIN"; did you mean CHAINS?'),
        ("LISTENER__CHAINS__L2__CHAIN_ID", 'no table "L2" in [chains]; did you mean L_2?'),
        ("LISTENER__CHAINS__L_2__CHAINID", 'no key "CHAINID"; did you mean CHAIN_ID?'),
        ("LISTENER__CHAINS__L_2__NAME", 'no key "NAME"; known: '),
        ("LISTENER__CHAINS__L_2", 'no key ""; known: '),
        ("LISTENER__CHAINS__L_2__CHAIN_ID__ENV", "CHAIN_ID has no ENV; leave it out"),
        ("LISTENER__RULES__0__TASK", "[[rules]] cannot be set by the environment; write them in the file"),
        ("LISTENER__", 'no table ""; known: '),
    ],
)
def test_a_name_that_leads_nowhere_is_an_error(tmp_path: Path, variable: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, CHAIN, {variable: "secret"})
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/config.toml: environment variable {variable}: {message}")
    assert "secret" not in said


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("LISTENER__PROOFS__CID_VERSION", "2", "proofs.cid_version: 2 should be 0 or 1"),
        (
            "LISTENER__HTTP__BIND",
            "10.0.0.1",
            'http.bind: "10.0.0.1" is no place to listen; write ADDRESS:PORT, such as "127.0.0.1:4003" or "[::1]:4003"',
        ),
        (
            "LISTENER__CHAINS__L_2__QUORUM",
            "2",
            TOO_FEW,
        ),
        ("LISTENER__CHAINS__L_2__CHAIN_ID", "ten", 'chains.l-2.chain_id: "ten" should be an integer'),
        ("LISTENER__CHAINS__L_2__ENDPOINTS", "ws://one", "chains.l-2.endpoints: the value should be a list"),
    ],
)
def test_a_value_is_checked_like_a_written_one(tmp_path: Path, variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, CHAIN, {variable: value})
    assert str(caught.value) == f"{tmp_path}/config.toml: {message}"


def test_the_names_of_the_stack_fill_what_is_left_open(tmp_path: Path) -> None:
    environ = {
        "PRIVATE_KEY_PERFORMER": KEY,
        "OTHENTIC_CLIENT_RPC_ADDRESS": "http://aggregator:8545",
        "L2_RPC": "https://rpc",
        "ATTESTATION_CENTER_ADDRESS": CENTER,
    }
    config = loaded(tmp_path, SILENT_CHAIN, environ)
    assert config.performer.key.get_secret_value() == KEY
    assert config.aggregator.url.get_secret_value() == "http://aggregator:8545"
    assert [url.get_secret_value() for url in config.chains["l2"].endpoints] == ["https://rpc"]
    assert (config.attestation.address, config.attestation_chain) == (CENTER, config.chains["l2"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"1@0x{'1' * 40},84532@{CENTER}", ("b", CENTER)),
        (f"17000@0x{'1' * 40},84532@{CENTER}", None),  # one for each: which of them settles is not said
        (CENTER, None),  # on which of the chains is not said
        ("0x1234", None),
    ],
)
def test_the_attestation_contract_of_several_chains_goes_by_their_ids(
    tmp_path: Path, value: str, expected: tuple[str, str] | None
) -> None:
    chains = f"{SILENT_CHAIN.replace('l2', 'a').replace('31337', '17000')}{SILENT_CHAIN.replace('l2', 'b')}"
    text = chains.replace("31337", "84532").replace("chain_id", 'endpoints = ["ws://one"]\nchain_id')
    found = loaded(tmp_path, text, {"ATTESTATION_CENTER_ADDRESS": value}).attestation
    assert expected == (None if found is None else (found.chain, found.address))


def test_what_is_written_or_set_by_name_comes_before_the_names_of_the_stack(tmp_path: Path) -> None:
    environ = {
        "PRIVATE_KEY_PERFORMER": KEY,
        "LISTENER__PERFORMER__KEY": OTHER_KEY,
        "OTHENTIC_CLIENT_RPC_ADDRESS": "http://aggregator:8545",
        "L2_RPC": "https://rpc",
    }
    config = loaded(tmp_path, CHAIN + '[aggregator]\nurl = "http://written"\n', environ)
    assert config.performer.key.get_secret_value() == OTHER_KEY
    assert config.aggregator.url.get_secret_value() == "http://written"
    assert [url.get_secret_value() for url in config.chains["l-2"].endpoints] == ["ws://written"]


def test_a_token_may_be_named_and_is_a_secret(tmp_path: Path) -> None:
    environ = {"LISTENER__HTTP__BIND": "0.0.0.0:4003", "LISTENER__HTTP__TOKEN__ENV": "TOKEN", "TOKEN": "word-by-word"}
    config = loaded(tmp_path, CHAIN, environ)
    assert config.http.token.get_secret_value() == "word-by-word"
    assert "word-by-word" in config.secrets
    assert "word-by-word" not in repr(config)


def test_who_only_reads_needs_no_token(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[http]\nbind = "0.0.0.0:4003"\ntoken = { env = "LISTENER_TOKEN" }\n')
    assert load(path, {}, require_key=False).http.token is None


def test_the_rpc_of_several_chains_goes_by_their_ids(tmp_path: Path) -> None:
    text = "[chains.a]\nchain_id = 17000\n[chains.b]\nchain_id = 84532\n"
    config = loaded(tmp_path, text, {"L2_RPC": "84532@https://key@b,17000@https://a"})
    found = {name: chain.endpoints[0].get_secret_value() for name, chain in config.chains.items()}
    assert found == {"a": "https://a", "b": "https://key@b"}


@pytest.mark.parametrize("value", ["", "https://one-for-two", "1@https://elsewhere"])
def test_an_rpc_that_is_for_none_of_the_chains_fills_nothing(tmp_path: Path, value: str) -> None:
    text = "[chains.a]\nchain_id = 17000\n[chains.b]\nchain_id = 84532\n"
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, {"L2_RPC": value})
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[2] for line in lines] == [
        "chains.a: endpoints is missing", "chains.b: endpoints is missing",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["performer = 3\n", "chains = 3\n", "[chains]\nl2 = 3\n"])
def test_variables_for_a_table_that_is_none_do_not_hide_the_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="3 should be a table"):
        loaded(tmp_path, text, {"PRIVATE_KEY_PERFORMER": KEY, "L2_RPC": "https://rpc"})


def test_the_names_of_the_examples_give_gateway_and_keys_of_pinata(tmp_path: Path) -> None:
    environ = {
        "PINATA_GATEWAY": "https://x.example/ipfs/",
        "PINATA_API_KEY": "key-12345",
        "PINATA_SECRET_API_KEY": "s" * 9,
    }
    proofs = loaded(tmp_path, CHAIN, environ).proofs
    assert [url.get_secret_value() for url in proofs.gateways] == ["https://x.example/ipfs/"]
    assert proofs.pinata_headers == {}  # nothing is kept there
    proofs = loaded(tmp_path, CHAIN + '[proofs]\nbackend = "pinata"\n', environ).proofs
    assert proofs.pinata_headers == {"pinata_api_key": "key-12345", "pinata_secret_api_key": "s" * 9}
    written = CHAIN + '[proofs]\nbackend = "inline"\n'
    assert loaded(tmp_path, written, environ).proofs.gateways == ()

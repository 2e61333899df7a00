"""The other commands: what they print, for people and for scripts, and how they fail."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command import listener, quickly
from following import BLOCKS, PINGS, Following, following, ping, write_config

from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode

FIELDS = [
    *("id", "key", "rule", "state", "trigger", "chain", "block_number", "block_hash", "epoch", "transaction_hash"),
    *("log_index", "task_definition_id", "proof_of_task", "data", "performer", "digest", "signature", "attempts"),
    *("sends", "orphaned", "already_known", "created_at", "sent_at", "accepted_at", "settled_at", "task_number"),
    *("outcome_transaction_hash", "error"),
]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
NOT_YET = [
    ("replay", "--rule", "x", "--from", "1", "--to", "2", "--execute", "--json"),
    ("keys", "new"),
    ("keys", "import"),
    ("keys", "address"),
    ("new", "folder"),
    ("schema",),
]


@pytest.fixture
async def config(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> Path:
    """A journal with an accepted event, an accepted block, a skipped and a failed one."""
    (tmp_path / "mixed.py").write_text(
        "from listener import TaskResult\n"
        "async def execute(ctx):\n"
        "    number = ctx.trigger.block_number\n"
        "    if number == 13:\n        raise ValueError('no price')\n"
        "    return None if number == 12 else TaskResult(str(number), b'abc')\n"
    )
    rules = PINGS + BLOCKS.replace("tasks.block_report", "mixed") + "max_attempts = 1\n"
    path = write_config(tmp_path, [node.ws_url], rules, aggregator=aggregator.url)
    async with following(path) as daemon:
        await daemon.walked(10)
        await node.mine(ping())
        await node.mine(count=2)
        await daemon.until(
            lambda: sorted(s for _, s in daemon.states()) == ["accepted", "accepted", "failed", "skipped"]
        )
    return path


async def test_a_row_has_the_fields_and_forms_that_scripts_rely_on(config: Path) -> None:
    answer = await quickly("tasks", "list", "--json", config=config)
    assert (answer.code, answer.err) == (0, "")
    assert all(tuple(row) == tuple(FIELDS) for row in answer.objects)
    (row,) = [row for row in answer.objects if row["rule"] == "pings"]
    assert isinstance(row["id"], int)
    assert (row["state"], row["trigger"], row["chain"], row["block_number"]) == ("accepted", "event", "l2", 11)
    for name, size in (("block_hash", 32), ("transaction_hash", 32), ("digest", 32), ("signature", 65)):
        assert re.fullmatch(rf"0x[0-9a-f]{{{2 * size}}}", row[name]), name
    assert (row["data"], row["log_index"], row["epoch"], row["task_definition_id"]) == ("0x", 0, None, 0)
    assert row["performer"] != row["performer"].lower()
    assert (row["attempts"], row["sends"], row["orphaned"], row["already_known"]) == (1, 1, False, False)
    for name in ("created_at", "sent_at", "accepted_at"):
        assert TIME.fullmatch(row[name]), name
    assert row["created_at"] <= row["sent_at"] <= row["accepted_at"]
    assert (row["settled_at"], row["task_number"], row["outcome_transaction_hash"], row["error"]) == (None,) * 4
    by_block = {row["block_number"]: row for row in answer.objects if row["rule"] == "blocks"}
    assert by_block[11]["data"] == "0x616263"
    assert by_block[11]["transaction_hash"] is None
    assert (by_block[12]["state"], by_block[12]["error"]) == ("skipped", "nothing to do")
    assert (by_block[13]["state"], by_block[13]["signature"]) == ("failed", None)
    assert "no price" in by_block[13]["error"]
    assert TIME.fullmatch(by_block[13]["settled_at"])


async def test_rows_are_filtered_and_come_oldest_first(config: Path) -> None:
    async def ids(*filters: str) -> list[tuple[str, int]]:
        answer = await quickly("tasks", "list", "--json", *filters, config=config)
        assert answer.code == 0, answer.err
        assert [row["id"] for row in answer.objects] == sorted(row["id"] for row in answer.objects)
        return [(row["rule"], row["block_number"]) for row in answer.objects]

    everything = [("blocks", 11), ("pings", 11), ("blocks", 12), ("blocks", 13)]
    assert await ids() == everything
    assert await ids("--state", "accepted") == everything[:2]
    assert await ids("--state", "failed", "--state", "skipped") == everything[2:]
    assert await ids("--rule", "pings") == [("pings", 11)]
    assert await ids("--block", "12") == [("blocks", 12)]
    assert await ids("--block", "12..13") == everything[2:]
    assert await ids("--limit", "1") == everything[:1]
    exported = await quickly("tasks", "export", "--rule", "blocks", "--block", "12..13", config=config)
    assert exported.out == (await quickly("tasks", "list", "--json", "--block", "12..13", config=config)).out
    now = datetime.now(UTC).isoformat()
    assert await ids("--since", now) == []
    assert await ids("--until", now.replace("+00:00", "Z")) == everything
    assert await ids("--since", "2026-01-01T00:00:00Z", "--rule", "blocks", "--state", "accepted") == [("blocks", 11)]


async def test_a_table_and_one_row_are_for_people(config: Path) -> None:
    table = await quickly("tasks", "list", config=config)
    assert table.code == 0
    assert len(table.out.splitlines()) >= 5
    (first, *_) = (await quickly("tasks", "list", "--json", config=config)).objects
    shown = await quickly("tasks", "show", str(first["id"]), config=config)
    assert [line.split()[0] for line in shown.out.splitlines()] == FIELDS
    as_json = await quickly("tasks", "show", str(first["id"]), "--json", config=config)
    assert as_json.objects == [first]


async def test_what_cannot_be_meant_is_said_in_a_line(config: Path) -> None:
    for words, code, said in (
        (("tasks", "show", "99"), 1, "task 99"),
        (("tasks", "retry", "99"), 1, "task 99"),
        (("tasks", "discard", "99"), 1, "task 99"),
        (("tasks", "list", "--state", "done"), 2, "done is not a state"),
        (("tasks", "list", "--block", "5-7"), 2, "neither N nor A..B"),
        (("tasks", "list", "--since", "yesterday"), 2, "yesterday"),
        (("chains", "rewind", "l2", "--to", "-1"), 2, "neither a block number nor latest"),
    ):
        answer = await quickly(*words, config=config)
        assert (words, answer.code) == (words, code)
        assert said in answer.err
        assert "Traceback" not in answer.err
        assert answer.out == ""


async def test_chains_are_listed_for_people_and_for_scripts(config: Path, node: FakeNode) -> None:
    answer = await quickly("chains", "list", "--json", config=config)
    (row,) = answer.objects
    assert row["name"] == "l2"
    assert (row["chain_id"], row["cursor"], row["head"], row["state"], row["error"]) == (
        31337,
        13,
        13,
        "following",
        None,
    )
    table = await quickly("chains", "list", config=config)
    assert "l2" in table.out
    refused = await listener("chains", "rewind", "l2", "--to", "99", config=config)
    assert (refused.code, refused.out) == (2, "")
    assert "has no block 99" in refused.err
    assert "Traceback" not in refused.err
    node.chain.add(count=3)
    done = await listener("chains", "rewind", "l2", "--to", "latest", config=config)
    assert (done.code, "block 16" in done.out) == (0, True)
    assert Following(config).cursor == 16


@pytest.mark.parametrize(
    "words",
    [
        ("tasks", "list"),
        ("tasks", "list", "--json"),
        ("tasks", "show", "1"),
        ("tasks", "discard", "1"),
        ("chains", "list"),
    ],
)
@pytest.mark.parametrize("content", [None, b"", b"this is no database, but a text that somebody wrote"], ids=str)
async def test_a_journal_that_is_not_there_or_is_none_is_one_line(
    node: FakeNode, tmp_path: Path, words: tuple[str, ...], content: bytes | None
) -> None:
    config = write_config(tmp_path, [node.ws_url], BLOCKS)
    if content is not None:
        (tmp_path / "listener.db").write_bytes(content)
    answer = await quickly(*words, config=config)
    assert answer.code == 1
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1
    assert "listener.db" in answer.err
    left = (tmp_path / "listener.db").read_bytes() if content is not None else None
    assert left == content


@pytest.mark.parametrize("words", NOT_YET, ids=" ".join)
async def test_what_is_not_built_yet_says_so(words: tuple[str, ...]) -> None:
    answer = await quickly(*words)
    assert answer.code == 1
    assert "not available yet" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert answer.out == ""
    assert "Example: listener " in (await quickly(words[0], "--help")).out


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("run",),
        ("tasks",),
        ("tasks", "list"),
        ("chains", "rewind"),
        ("journal", "backup"),
        ("incidents", "list"),
        ("status",),
    ],
    ids=" ".join,
)
async def test_help_is_there_for_every_command(words: tuple[str, ...]) -> None:
    answer = await quickly(*words, "--help")
    assert answer.code == 0
    assert "Usage: " in answer.out


async def test_a_listing_reads_while_the_daemon_writes(node: FakeNode, aggregator: Aggregator, tmp_path: Path) -> None:
    path = write_config(tmp_path, [node.ws_url], BLOCKS, aggregator=aggregator.url)
    async with following(path) as daemon:
        await daemon.walked(10)
        for _ in range(2):
            await node.mine(count=50)
            answer = await listener("tasks", "list", "--json", config=path)
            assert answer.code == 0, answer.err
            assert all(json.loads(line)["rule"] == "blocks" for line in answer.out.splitlines())
        await daemon.until(lambda: len(aggregator.accepted) == 100)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tasks", "show", str(2**63)), "task"),
        (("tasks", "retry", str(2**63)), "task"),
        (("tasks", "discard", str(2**63)), "task"),
        (("tasks", "list", "--block", str(2**63)), "--block"),
        (("tasks", "list", "--block", "5..1"), "B is smaller than A"),
        (("tasks", "list", "--limit", str(2**63)), "--limit"),
        (("tasks", "list", "--rule", "\udcff"), "is no name of a rule"),
        (("chains", "rewind", "l2", "--to", str(2**63)), "--to"),
        (("demo", "--dir", "config.toml"), "File exists"),
        (("tasks", "show", "seventeen"), "'task'"),
        (("tasks", "show"), "missing argument 'task'"),
        (("tasks", "lst"), "Did you mean 'list'?; see `listener tasks --help`"),
        (("tasks", "list", "--rulle", "x"), "no such option: --rulle"),
        (("chains", "rewind", "l2"), "missing option '--to'; see `listener chains rewind --help`"),
        (("run", "--role", "validator"), "performer, attester or both; see `listener run --help`"),
        (("rum",), "no such command 'rum'"),
    ],
)
async def test_bad_usage_and_what_no_journal_or_disk_can_take_is_one_line_with_a_hint(
    config: Path, arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.parent)
    answer = await quickly(*arguments, config=None if arguments[0] == "demo" else config)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err
    assert answer.err.startswith("listener: ")
    assert answer.err.count("\n") == 1


async def test_a_file_that_devnet_cannot_write_ends_it_with_one_line(tmp_path: Path) -> None:
    answer = await listener("devnet", "--write", str(tmp_path))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"listener: --write {tmp_path}: Is a directory; name a file that this user may write to\n"

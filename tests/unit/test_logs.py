"""Logs are facts, one line each, and no secret is in any of them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from listener import logs
from listener.logs import HIDDEN, Redactor, configure

KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"


@pytest.fixture
def stderr(capsysbinary: pytest.CaptureFixture[bytes]) -> Iterator[Callable[[], bytes]]:
    """What was written to stderr since it was last asked for."""
    before = structlog.get_config()
    yield lambda: capsysbinary.readouterr().err
    configure("info", "json")  # forgets the secrets of this test
    structlog.configure(**before)


def lines(stderr: Callable[[], bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr().splitlines()]


# Secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"the key 0x{KEY} is bad", f"the key 0x{HIDDEN} is bad"),
        (f"the key {KEY.upper()} is bad", f"the key {HIDDEN} is bad"),
        ("https://user:pass@node.example/v1", f"https://{HIDDEN}@node.example/v1"),
        ("wss://token@node.example", f"wss://{HIDDEN}@node.example"),
        ("postgresql+psycopg://me:pw@db/x", f"postgresql+psycopg://{HIDDEN}@db/x"),
        ("GET https://a.example/x?apikey=1234&y=2 failed", f"GET https://a.example/x?{HIDDEN} failed"),
        ("https://a.example/x?k=v#frag", f"https://a.example/x?{HIDDEN}#frag"),
        ("two: http://a:b@c/ and http://d:e@f/", f"two: http://{HIDDEN}@c/ and http://{HIDDEN}@f/"),
        ("mail me@example.com, ok?", "mail me@example.com, ok?"),
        ("https://node.example/v1 is @ work", "https://node.example/v1 is @ work"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_secrets_and_credentials_are_hidden_and_the_rest_is_not(text: str, shown: str) -> None:
    assert Redactor([KEY]).text(text) == shown


def test_an_unescaped_at_sign_in_a_password_hides_no_less() -> None:
    assert "word" not in Redactor([]).text("https://user:p@ssword@node.example/v1")


def test_a_secret_that_holds_another_is_hidden_whole() -> None:
    redactor = Redactor(["abcdef", "abcdef-ghijkl"])
    assert redactor.text("x abcdef-ghijkl y abcdef z") == f"x {HIDDEN} y {HIDDEN} z"


def test_a_secret_is_text_and_no_pattern() -> None:
    assert Redactor(["a.c+d(e"]).text("a.c+d(e abcddde") == f"{HIDDEN} abcddde"


def test_a_very_short_secret_does_not_blot_out_words() -> None:
    assert Redactor(["a"]).text("a banana") == "a banana"


class Awkward:
    def __str__(self) -> str:
        return f"<holds {KEY}>"


@pytest.mark.parametrize(
    "value",
    [
        KEY,
        f"0x{KEY}",
        [KEY],
        (KEY,),
        {"deep": [{"deeper": (KEY,)}]},
        Awkward(),
        ValueError(KEY),
        {KEY},
        f"https://u:{KEY}@x/".encode(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_secret_is_hidden_however_deep_it_is(value: Any) -> None:
    event = Redactor([KEY])(None, "info", {"event": "x.happened", "value": value, "n": 7, "ok": True, "none": None})
    assert KEY not in str(event)
    assert (event["n"], event["ok"], event["none"]) == (7, True, None)


def test_a_secret_that_names_a_value_is_hidden_too() -> None:
    assert KEY not in str(Redactor([KEY])(None, "info", {"event": "x.happened", "balances": {KEY: 1}}))


@given(
    st.text(min_size=6, max_size=20).filter(lambda text: "***" not in text), st.text(max_size=20), st.text(max_size=20)
)
def test_no_text_shows_a_secret_whatever_stands_around_it(secret: str, before: str, after: str) -> None:
    if secret not in HIDDEN and secret not in before + HIDDEN + after:
        assert secret not in Redactor([secret]).text(before + secret + after)


def test_what_is_stored_is_hidden_as_what_is_logged(stderr: Callable[[], bytes]) -> None:
    configure("info", "json", [KEY])
    assert logs.redacted(f"raised at {KEY}") == f"raised at {HIDDEN}"
    assert stderr() == b""


def test_a_secret_in_a_traceback_is_hidden(stderr: Callable[[], bytes]) -> None:
    configure("info", "json", [KEY])
    try:
        int(f"bad key {KEY}")
    except ValueError:
        structlog.get_logger().error("x.failed", exc_info=True)
    (line,) = lines(stderr)
    assert KEY not in str(line)
    assert "bad key ***" in line["exception"]


def test_a_secret_bound_to_the_context_is_hidden(stderr: Callable[[], bytes]) -> None:
    configure("info", "json", [KEY])
    with structlog.contextvars.bound_contextvars(task=KEY):
        structlog.get_logger().bind(rule=f"r {KEY}").info("x.happened")
    (line,) = lines(stderr)
    assert KEY not in str(line)
    assert (line["rule"], line["task"]) == (f"r {HIDDEN}", HIDDEN)


# Lines


@pytest.mark.parametrize("form", ["json", "auto"])
def test_a_line_is_one_json_object_on_stderr(stderr: Callable[[], bytes], form: Any) -> None:
    configure("info", form)
    structlog.get_logger().info("task.accepted", task=3, took_ms=1.5, rule="prices", note="two\nlines")
    (line,) = lines(stderr)
    assert (line["event"], line["level"], line["task"], line["took_ms"]) == ("task.accepted", "info", 3, 1.5)
    assert line["note"] == "two\nlines"
    assert line["timestamp"].endswith("Z")


def test_text_is_for_people(stderr: Callable[[], bytes]) -> None:
    configure("info", "text")
    structlog.get_logger().info("task.accepted", task=3)
    text = stderr().decode()
    assert "task.accepted" in text
    assert "task=3" in text
    assert "\x1b" not in text, "no colours where nobody sees them"


@pytest.mark.parametrize(("level", "said"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)], ids=str)
def test_lines_below_the_level_are_left_out(stderr: Callable[[], bytes], level: str, said: int) -> None:
    configure(level, "json")
    log = structlog.get_logger()
    log.debug("a.b")
    log.info("a.b")
    log.warning("a.b")
    log.error("a.b")
    assert len(lines(stderr)) == said


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(10**20, id="a wei amount above 64 bits"),
        pytest.param(-(2**255), id="an int256"),
        pytest.param({1: "a", (2, 3): "b"}, id="keys that are no text"),
        pytest.param({"deep": [2**200]}, id="a deep uint256"),
        pytest.param("file \udcff", id="text that UTF-8 cannot write"),
        pytest.param(object(), id="an object"),
        pytest.param(b"\xff\x00", id="bytes"),
        pytest.param(float("nan"), id="nan"),
    ],
)
def test_whatever_a_handler_logs_is_a_line_and_never_an_error(stderr: Callable[[], bytes], value: Any) -> None:
    configure("info", "json")
    structlog.get_logger().info("price.read", value=value)
    (line,) = lines(stderr)
    assert line["event"] == "price.read"

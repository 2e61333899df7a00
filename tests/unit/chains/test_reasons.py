"""What went wrong with a connection is said without the URL."""

import ssl

import pytest

from listener.chains import reasons

NOBODY = "nothing listens there; look at the URL, and whether the node runs"


def invalid(said: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"certificate verify failed: {said} (_ssl.c:1006)")
    error.verify_message = said
    return error


def wrapped(cause: Exception) -> Exception:
    error = RuntimeError("https://node.example/v3/c0ffee")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (invalid("self-signed certificate"), "TLS: its certificate is not valid: self-signed certificate"),
        (wrapped(invalid("certificate has expired")), "TLS: its certificate is not valid: certificate has expired"),
        (wrapped(ValueError("c0ffee")), "RuntimeError"),
        (wrapped(ConnectionRefusedError(111, "c0ffee")), f"connection refused: {NOBODY}"),
        (TimeoutError("c0ffee"), "no answer in time"),
    ],
)
def test_an_error_is_named_by_what_is_to_be_mended(error: Exception, said: str) -> None:
    assert reasons.of_error(error) == said


def test_only_a_locked_door_asks_for_a_key() -> None:
    assert "key" in reasons.of_status(403)
    assert reasons.of_status(502) == "HTTP 502"

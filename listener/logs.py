"""
Sets logging up: facts as events with fields, on stderr, with every secret taken out in one place.

JSON when stderr is not a terminal, readable text when it is. What a line must never show is known here: the secrets
that the configuration read, and credentials in anything that looks like a URL.
"""

import logging
import re
import sys
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Literal

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

_USERINFO = re.compile(r"(\w+://)[^/\s]*@")
_QUERY = re.compile(r"(\w+://[^\s?#]+)\?[^\s#]*")
HIDDEN = "***"
log = structlog.get_logger()
_LARGEST = 2**63


class Redactor:
    """A structlog processor that hides secrets in every value, however deep."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: one secret may hold another. Very short ones would blot out ordinary words.
        known = sorted({secret for secret in secrets if len(secret) >= 6}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known)), re.IGNORECASE) if known else None

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        """Return the event with secrets hidden."""
        return {key: self._clean(value) for key, value in event.items()}

    def text(self, text: str) -> str:
        """Return a text with secrets hidden."""
        if not text.isascii():
            text = text.encode(errors="backslashreplace").decode()  # what UTF-8 cannot write, such as a lone surrogate
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        if "://" in text:
            text = _QUERY.sub(rf"\1?{HIDDEN}", _USERINFO.sub(rf"\1{HIDDEN}@", text))
        return text

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return value if -_LARGEST <= value < _LARGEST else str(value)  # JSON's own writer stops at 64 bits
        if isinstance(value, dict):
            return {self.text(str(key)): self._clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(item) for item in value]
        return self.text(str(value))


_redactor = Redactor(())


def redacted(text: str) -> str:
    """Return a text as it may be stored or shown: without the secrets that ``configure`` was told of."""
    return _redactor.text(text)


def configure(level: str, form: Literal["auto", "json", "text"], secrets: Iterable[str] = ()) -> None:
    """
    Set structlog up for this process.

    Args:
        level: debug | info | warning | error.
        form: ``auto`` is text on a terminal and JSON elsewhere.
        secrets: texts that no line may show.
    """
    global _redactor  # noqa: PLW0603 - logging is set up once for the process, as everywhere
    _redactor = Redactor(secrets)
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redactor,
    ]
    if as_text:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
        factory: Any = structlog.PrintLoggerFactory(sys.stderr)
    else:
        processors.append(structlog.processors.JSONRenderer(serializer=_dumps))
        factory = structlog.BytesLoggerFactory(sys.stderr.buffer)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )


def capture() -> None:
    """
    Have what others would print themselves written as lines like all others, so that secrets are taken out of it too.

    That is what libraries and asyncio log, such as an exception that nobody asked a future for, warnings, what the
    interpreter cannot raise anywhere, and what ends a thread or the process.
    """
    logging.basicConfig(level=logging.WARNING, handlers=[_Complaints()], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _on_end
    sys.unraisablehook = _on_unraisable
    threading.excepthook = _on_thread_end


class _Complaints(logging.Handler):
    """Takes over what is logged through the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it our way."""
        try:
            said = record.getMessage()
        except Exception:  # noqa: BLE001 - a text that does not fit its values is the library's fault
            said = str(record.msg)
        level = log.error if record.levelno >= logging.ERROR else log.warning
        level("library.complained", library=record.name, reason=said, exc_info=record.exc_info)


def _on_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("process.failed", reason=str(error), exc_info=(kind, error, trace))


def _on_unraisable(found: "sys.UnraisableHookArgs") -> None:
    # Not what it is about: that may be half gone, and must not live on.
    error = found.exc_value or found.exc_type()
    log.error("interpreter.complained", reason=found.err_msg, exc_info=(found.exc_type, error, found.exc_traceback))


def _on_thread_end(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is SystemExit:
        return  # that ends a thread quietly
    error = ended.exc_value or ended.exc_type()
    name = None if ended.thread is None else ended.thread.name
    log.error("thread.failed", thread=name, exc_info=(ended.exc_type, error, ended.exc_traceback))


def _dumps(event: EventDict, **_options: Any) -> bytes:
    return orjson.dumps(event, default=str)

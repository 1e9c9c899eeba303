"""Structured logs: one JSON object per line on standard error, with the request id when there is one.

Strings are escaped to ASCII, so that no name from outside can forge a line or confuse a terminal.
"""

import json
import logging
import re
import secrets
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import structlog
from structlog.contextvars import bind_contextvars, merge_contextvars, reset_contextvars

SECRET_FIELDS: Final = frozenset({"authorization", "credential", "key", "password", "secret", "token", "dsn"})
TEXT_MAX: Final = 2_048  # characters of one field; a handle fits, a flood of text does not
REQUEST_ID_HEADER: Final = "X-Request-Id"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

Event = MutableMapping[str, Any]


def set_up_logs(level: str, *, node: str = "", role: str = "", worker: int | None = None) -> None:
    """Configures structlog and the standard library's logging alike. level: debug, info, warning or error.

    worker: the number of a process among several of one node.
    """
    structlog.configure(
        processors=[
            merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _about({"node": node or None, "role": role or None, "worker": worker}),
            structlog.processors.format_exc_info,
            _protect,
            structlog.processors.JSONRenderer(serializer=_dump),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(max(_LEVELS[level], logging.WARNING))  # libraries speak up only when something is wrong


@contextmanager
def request_scope(request_id: str = "") -> Iterator[str]:
    """Gives every log line of a request its id, a fresh one when none is given."""
    request_id = request_id or secrets.token_hex(8)
    tokens = bind_contextvars(request_id=request_id)
    try:
        yield request_id
    finally:
        reset_contextvars(**tokens)


def choose_request_id(given: str | None) -> str:
    """The id that a client gave its request, if it is one that may stand in logs and answers, else a fresh one."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


class _Forward(logging.Handler):
    """Hands what libraries log to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, "library", logger=record.name, text=record.getMessage(), exc_info=record.exc_info
        )


def _about(process: Mapping[str, object]) -> structlog.typing.Processor:
    fields = {name: value for name, value in process.items() if value is not None}

    def add(logger: Any, method: str, event: Event) -> Event:
        for name, value in fields.items():
            event.setdefault(name, value)
        return event

    return add


def _protect(logger: Any, method: str, event: Event) -> Event:
    """Hides what is secret by its name, and shortens what is long."""
    for name, value in event.items():
        if name in SECRET_FIELDS:
            event[name] = "***"
        elif isinstance(value, str) and len(value) > TEXT_MAX and name != "exception":
            event[name] = value[:TEXT_MAX] + "…"
    return event


def _dump(event: Any, **_: Any) -> str:
    return json.dumps(event, default=str, ensure_ascii=True)

"""Writes PROBLEMS.md, the table of every problem type and response code: `python -m registry.api.reference`."""

from pathlib import Path
from typing import Final

from registry.api.catalogue import problem_types
from registry.api.schemas.meta import ProblemTypeView

PATH: Final = Path(__file__).with_name("PROBLEMS.md")
_HEAD: Final = """# Problems and response codes

Written by `python -m registry.api.reference`; a node shows the same at `/api/v1/problems`.

## Problems of the API

A refusal is sent as `application/problem+json` (RFC 9457). *Repeat* says whether the same request may succeed later,
unchanged.

| problem | status | cause | remedy | repeat |
|---|---|---|---|---|
"""
_CODES_HEAD: Final = """
## Response codes of the Handle protocol

| code | name | HTTP | cause | remedy | repeat |
|---|---|---|---|---|---|
"""


def markdown() -> str:
    """The text of PROBLEMS.md."""
    listed = problem_types()
    kinds = [
        f"| `{_slug(kind)}`<br>{kind.title} · {kind.title_zh} | {kind.status} | {_cell(kind.cause)} "
        f"| {_cell(kind.remedy)} | {_repeat(kind.retry)} |"
        for kind in listed.items
    ]
    codes = [
        f"| {code.code} | {code.name} | {code.status} | {_cell(code.cause)} | {_cell(code.remedy)} "
        f"| {_repeat(code.retry)} |"
        for code in listed.response_codes
    ]
    return _HEAD + "\n".join(kinds) + "\n" + _CODES_HEAD + "\n".join(codes) + "\n"


def _slug(kind: ProblemTypeView) -> str:
    return kind.type.rpartition("/")[2]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _repeat(retry: bool) -> str:
    return "yes" if retry else "no"


if __name__ == "__main__":
    PATH.write_text(markdown(), encoding="utf-8")

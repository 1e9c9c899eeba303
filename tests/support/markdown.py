"""Fenced blocks, links and headings of a Markdown file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SHELL_LANGUAGES: Final = frozenset({"sh", "bash", "shell", "console"})

_FENCE: Final = re.compile(
    r"^(?P<fence>```+|~~~+)(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=fence)\s*$", re.MULTILINE | re.DOTALL
)
_LINK: Final = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
_INLINE_CODE: Final = re.compile(r"`[^`\n]+`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    line: int
    """Line of the first line of text, from 1."""


def blocks(path: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a file."""
    text = path.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        language = (match["info"].split() or [""])[0]
        yield Block(language=language, text=match["text"], line=text.count("\n", 0, match.start("text")) + 1)


def commands(path: Path) -> list[str]:
    """Return the command lines of all shell blocks, without prompts, output and comments.

    In a console block only lines that begin with `$ ` are commands. Lines that end in a
    backslash are joined with the next.
    """
    found: list[str] = []
    for block in blocks(path):
        if block.language not in SHELL_LANGUAGES:
            continue
        lines = block.text.replace("\\\n", " ").splitlines()
        if block.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        stripped = (re.sub(r"\s+#\s.*$", "", line).strip() for line in lines)
        found += [re.sub(r"\s+", " ", line) for line in stripped if line and not line.startswith("#")]
    return found


def links(path: Path) -> Iterator[str]:
    """Yield the targets of inline links, outside code."""
    prose = _INLINE_CODE.sub("", _FENCE.sub("", path.read_text(encoding="utf-8")))
    yield from (match["target"] for match in _LINK.finditer(prose))


def section(path: Path, heading: str) -> str:
    """Return the text below `## heading` up to the next heading of the same rank, or an empty text."""
    pattern = re.compile(rf"^## {re.escape(heading)}\s*\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    match = pattern.search(path.read_text(encoding="utf-8"))
    return match["text"] if match else ""

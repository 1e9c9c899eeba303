"""What the documentation shows is there: commands, settings, examples, links; in both languages alike."""

import ast
import asyncio
import importlib
import inspect
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import pytest

from deploy.cli import handlegrid
from tests.support.markdown import blocks, commands, links, section
from tests.support.tree import PACKAGES, ROOT, files, relative

SECTIONS: Final = ("What", "Settings", "Metrics", "Examples", "Decisions")
SETTINGS: Final = {
    "registry": ("registry.settings", "RegistrySettings"),
    "resolver": ("resolver.settings", "ResolverSettings"),
}
READMES: Final = [path for path in files(".md") if path.name.startswith("README")]


def test_both_languages_have_the_same_commands() -> None:
    assert commands(ROOT / "README.md") == commands(ROOT / "README.zh-CN.md")


@pytest.mark.parametrize("path", list(files(".md")), ids=relative)
def test_relative_links_lead_somewhere(path: Path) -> None:
    broken = [
        target
        for target in links(path)
        if "://" not in target
        and not target.startswith(("#", "mailto:"))
        and not (path.parent / target.split("#")[0]).exists()
    ]
    assert not broken


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_readme_has_its_sections(package: str) -> None:
    missing = [name for name in SECTIONS if not section(ROOT / package / "README.md", name).strip()]
    assert not missing, f"{package}/README.md lacks {missing}"


@pytest.mark.parametrize("daemon", SETTINGS)
def test_the_readme_lists_exactly_the_settings_of_the_daemon(daemon: str) -> None:
    module, name = SETTINGS[daemon]
    struct = getattr(importlib.import_module(module), name)
    fields = {field.name for field in msgspec.structs.fields(struct)}
    text = section(ROOT / daemon / "README.md", "Settings")
    listed = set(re.findall(r"^\|\s*`([a-z0-9_]+)`\s*\|", text, re.MULTILINE))
    assert listed == fields


def _examples() -> list[Any]:
    return [
        pytest.param(path, block.line, block.text, id=f"{relative(path)}:{block.line}")
        for path in READMES
        for block in blocks(path)
        if block.language == "python"
    ]


@pytest.mark.parametrize(("path", "line", "text"), _examples())
def test_an_example_runs(path: Path, line: int, text: str) -> None:
    code = compile("\n" * (line - 1) + text, str(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, object] = {"__name__": "readme_example"}
    result = eval(code, names)  # noqa: S307 - our own documentation
    if inspect.isawaitable(result):
        asyncio.run(asyncio.wait_for(result, 60))


def _tables() -> list[Any]:
    return [
        pytest.param(table, block.text, id=f"{relative(path)}:{block.line}")
        for path in READMES
        for block in blocks(path)
        if block.language == "toml"
        for table in tomllib.loads(block.text)
        if table in SETTINGS
    ]


@pytest.mark.parametrize(("daemon", "text"), _tables())
def test_a_settings_example_is_accepted(daemon: str, text: str) -> None:
    module, name = SETTINGS[daemon]
    struct = getattr(importlib.import_module(module), name)
    msgspec.convert(tomllib.loads(text)[daemon], struct, strict=False, dec_hook=_a_path)


def _a_path(kind: type, value: object) -> Path:
    assert kind is Path, kind
    return Path(str(value))


def _command_lines() -> list[str]:
    return sorted({line for path in READMES for line in commands(path)})


@pytest.mark.parametrize("line", _command_lines())
def test_a_command_exists_with_its_options(line: str) -> None:
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    name = Path(words[0]).name
    if name == "handlegrid":
        _check_command(words[1:])
    elif name == "make":
        targets = re.findall(
            r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
        )
        assert {word for word in words[1:] if not re.search(r"[=]|^-", word)} <= set(targets)


def _check_command(words: list[str]) -> None:
    command: click.Command = handlegrid
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            break
        command = found
        words.pop(0)
    assert not isinstance(command, click.Group) or not words or words[0].startswith("-"), (
        f"no such command: {words}"
    )
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    used = {word.split("=")[0] for word in words if word.startswith("--") and word != "--"}
    assert used <= known | {"--help"}, f"unknown options: {sorted(used - known)}"

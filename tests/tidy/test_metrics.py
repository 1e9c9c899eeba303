"""Every metric is described in a package README, and every described metric exists."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.markdown import section
from tests.support.tree import ROOT, parse, python_files

KINDS: Final = frozenset(
    {
        "Counter",
        "CounterMetricFamily",
        "Enum",
        "Gauge",
        "Histogram",
        "Info",
        "Summary",
        "TallyCounter",
        "TallyHistogram",
    }
)
NAME: Final = re.compile(r"\bhandlegrid_[a-z0-9_]*[a-z0-9]\b")
DAEMONS: Final = ("registry", "resolver")


def metrics_of(paths: list[Path]) -> set[str]:
    """Return the names given to metric constructors in the files."""
    return {
        node.args[0].value
        for path in paths
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call)
        and _called(node.func) in KINDS
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
        and node.args[0].value.startswith("handlegrid")
    }


def _called(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


@pytest.mark.parametrize("daemon", DAEMONS)
def test_the_readme_lists_exactly_the_metrics_of_the_daemon(daemon: str) -> None:
    described = set(NAME.findall(section(ROOT / daemon / "README.md", "Metrics")))
    existing = metrics_of(python_files(daemon)) | metrics_of(python_files("protocol"))
    existing = {
        name.removesuffix("_info") + "_info" if name.endswith("_build") else name for name in existing
    }
    assert described == existing


def test_every_metric_is_in_the_one_namespace() -> None:
    strays = [
        ast.unparse(node)
        for path in python_files("protocol", *DAEMONS)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in KINDS - {"Enum", "Info"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
        and not node.args[0].value.startswith("handlegrid_")
    ]
    assert not strays

"""The integration tests that pyhandle brings in its wheel, read and write, run against a node of ours.

They read addresses and credentials from a file beside them, so they are copied. What does not pass is a fault of the
tests themselves, of which the traceback is the proof; were one mended, this would say so.
"""

import asyncio
import importlib.util
import json
import re
import shutil
import sys
import unittest
import unittest.mock
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pyhandle
import pytest

from protocol.handle import Handle
from protocol.jsonform import value_from_json
from protocol.value import ValueList
from registry.homing import admin_value
from registry.outcomes import OPERATOR, Creation, Identity
from tests.support.registries import RunningRegistry, running_registry

PREFIX: Final = "21.T14999"
OWNER: Final = f"{PREFIX}/B2HANDLE_INTEGRATION_TESTS"
"""Whom the tests write into their records as administrator, whatever the file says."""
SECRET: Final = "what the tests sign in with"
READ_ME: Final = f"{PREFIX}/read-me"
KEY: Final = {"index": 300, "type": "HS_SECKEY", "data": SECRET, "permissions": "1100"}
TESTS: Final = {"read": 12, "write": 17}
LEFT_OUT: Final = "test_global_resolve"
"""Asks a server on the Internet, whatever the file says."""

NO_CLIENT: Final = "CredentialsFormatError: Problem with credentials: Client not provided or empty"
"""The tests make credentials without naming a client, which the library demands since; nothing is sent."""
FAULTS: Final = {
    "test_instantiate_with_credentials": NO_CLIENT,
    "test_instantiate_with_credentials_config": NO_CLIENT,
    "test_instantiate_with_credentials_config_override": NO_CLIENT,
    "test_instantiate_with_credentials_inexistentuser": NO_CLIENT,
    # The library raises for the 404 with response code 100 that deployed servers give; the test expects None.
    "test_delete_handle_inexistent": r"raise HandleNotFoundException[\s\S]*HTTP Status Code: 404[\s\S]*:100,",
    "test_register_handle": r'NotImplementedError: No support for argument "additional_URLs"',
    # The same argument, which the library here takes for a type, so that a value would have a list as its data.
    "test_generate_and_register_handle": r'"data": \["http://bar\.bar", "http://foo\.foo"\]',
}


@pytest.fixture
async def plant(database: str, scratch: Path) -> AsyncIterator[RunningRegistry]:
    """Start a node with the owner, an administrator of the node, and with the record that the tests read."""
    admin = admin_value(Identity(index=300, handle=Handle.parse(OWNER)))
    read = [
        value_from_json({"index": index, "type": f"TEST{number}", "data": f"val{number}"})
        for number, index in enumerate((111, 2222, 333, 4), start=1)
    ]
    batch = [
        Creation(Handle.parse(OWNER), ValueList.of([admin, value_from_json(KEY)])),
        Creation(Handle.parse(READ_ME), ValueList.of([admin, *read])),
    ]
    async with running_registry(
        database, scratch, homes=[PREFIX], server_admins=[f"300:{OWNER}"]
    ) as registry:
        await registry.node.operations.create(batch, by=OPERATOR)
        yield registry


def prepared(directory: Path, base: str, name: str) -> unittest.TestSuite:
    """Copy a file of tests, with what it asks for beside it, and load it."""
    values = {
        "user": f"300:{OWNER}",
        "password": SECRET,
        "handle_server_url_read": base,
        "handle_server_url_write": base,
        "handle_for_read_tests": READ_ME,
        "handle_globally_resolvable": READ_ME,
        "handle_to_be_created": f"{PREFIX}/created",
        "handle_to_be_modified": f"{PREFIX}/modified",
    }
    tests, resources = directory / "testcases", directory / "resources"
    tests.mkdir()
    resources.mkdir()
    (resources / "testvalues_for_integration_tests_IGNORE.json").write_text(json.dumps(values))
    original = Path(pyhandle.__file__).parent / f"tests/testcases/handleclient_{name}_integration_test.py"
    spec = importlib.util.spec_from_file_location(f"pyhandle_{name}", shutil.copy(original, tests))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cases = unittest.defaultTestLoader.loadTestsFromModule(module)
    return unittest.TestSuite(case for case in leaves(cases) if not case.id().endswith(LEFT_OUT))


def leaves(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """Give the single tests of a suite."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from leaves(item)
        else:
            yield item


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TESTS)
async def test_pyhandles_own_tests_pass_but_for_their_own_faults(
    plant: RunningRegistry, scratch: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "mock", unittest.mock)  # which they import under its older name
    suite = prepared(scratch, plant.base, name)
    result = unittest.TestResult()

    await asyncio.to_thread(suite.run, result)

    assert result.testsRun == TESTS[name]
    unpassed = {case.id().rpartition(".")[2]: text for case, text in result.errors + result.failures}
    for test, traceback in unpassed.items():
        assert test in FAULTS, traceback
        assert re.search(FAULTS[test], traceback), traceback
    assert len(unpassed) == {"read": 4, "write": 3}[name], "a fault is mended: shorten the list"

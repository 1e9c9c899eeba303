"""The client of the API over TLS, against a node: whom it trusts, and that it registers what resolves."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocol.handle import Prefix
from registry.accounts.keys import NewKey
from registry.accounts.roles import ROLE_RIGHTS, Role
from registry.accounts.service import HOST, Accounts
from registry.allocation.commands import assign
from registry.client import Credential, NoAnswer, Refused, RegistryClient
from registry.identifiers.forms import NewIdentifier
from registry.identifiers.values import DataForm, ValueForm
from registry.node import open_node
from registry.outcomes import COMMAND, Origin
from registry.problem_types.identifiers import IDENTIFIER_EXISTS
from tests.support.neighbours import profile
from tests.support.registries import RunningRegistry, registry_settings, running_registry

PREFIX = "88.1"
NAME = f"{PREFIX}/PUMP-7"


async def enterprise_key(dsn: str, scratch: Path) -> str:
    """The key of an organisation that holds the node's prefix."""
    async with open_node(registry_settings(dsn, scratch, homes=[PREFIX]), unsafe=True) as node:
        accounts = Accounts(node.operations)
        async with node.operations.transaction(Origin(actor="applicant", via="command")) as tx:
            made = await accounts.organisations.create(tx, profile())
        async with node.operations.transaction(COMMAND) as tx:
            await accounts.organisations.review(tx, made, approve=True, reason="")
            await assign(tx, Prefix.parse(PREFIX), made.id)
            wanted = NewKey(organisation=made.id, name="k", rights=ROLE_RIGHTS[Role.ENTERPRISE_EDITOR])
            return (await accounts.keys.create(tx, HOST, wanted)).token


@pytest.fixture
async def key(database: str, scratch: Path) -> str:
    return await enterprise_key(database, scratch)


@pytest.fixture
async def node(
    database: str, scratch: Path, certificate: tuple[Path, Path], key: str
) -> AsyncIterator[RunningRegistry]:
    files = {"tls_certificate_file": str(certificate[0]), "tls_key_file": str(certificate[1])}
    settings = {"homes": [PREFIX], "plain_http_credentials": "refuse", **files}
    async with running_registry(database, scratch, scheme="https", **settings) as running:
        yield running


def new(name: str = NAME) -> NewIdentifier:
    return NewIdentifier(
        identifier=name, values=[ValueForm(index=1, type="URL", data="https://example.com/pump-7")]
    )


async def test_what_the_client_registers_resolves(
    node: RunningRegistry, key: str, certificate: tuple[Path, Path]
) -> None:
    async with RegistryClient(node.base, credential=Credential(key), ca_file=certificate[0]) as client:
        done = await client.identifiers.create(new())
        found = await client.identifiers.get(NAME)

    assert (done.identifier, done.version) == (NAME, 1)
    assert found.values[0].data == DataForm(format="string", value="https://example.com/pump-7")
    assert (await node.get(f"/api/handles/{NAME}")).rc == 1


async def test_a_refusal_tells_what_exists_and_how_to_change_it(
    node: RunningRegistry, key: str, certificate: tuple[Path, Path]
) -> None:
    async with RegistryClient(node.base, credential=Credential(key), ca_file=certificate[0]) as client:
        await client.identifiers.create(new())
        with pytest.raises(Refused) as caught:
            await client.identifiers.create(new(NAME.lower()))

    assert caught.value.is_(IDENTIFIER_EXISTS)
    assert f"{NAME.lower()} exists as {NAME}" in caught.value.detail
    assert "If-Match" in caught.value.remedy


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_node_that_cannot_prove_who_it_is_gets_no_key(
    node: RunningRegistry, key: str, certificate: tuple[Path, Path], host: str
) -> None:
    """Neither one that nobody vouches for, nor one whose certificate is for another name."""
    url = node.base.replace("127.0.0.1", host)
    ca_file = certificate[0] if host == "localhost" else None
    began_s = time.monotonic()
    async with RegistryClient(url, credential=Credential(key), ca_file=ca_file) as client:
        with pytest.raises(NoAnswer, match="not trusted") as caught:
            await client.identifiers.create(new())
    assert time.monotonic() - began_s < 10
    assert caught.value.idempotency_key is None
    assert key not in str(caught.value)

"""Accounts of the one-machine deployment: a key for each node's operator, and a sample enterprise with its own.

They are made in the nodes' databases, as `handlegrid apikey operator` does; every step finds what an earlier run made.
Keys are written to files that are their owner's alone, and nowhere else.
"""

from pathlib import Path
from typing import Final

from deploy.local import sample
from deploy.local.deployment import ENTERPRISE_KEY, OPERATOR_KEY, Deployment
from protocol.handle import Prefix
from registry.accounts.key import VALIDITY_MAX
from registry.accounts.keys import NewKey
from registry.accounts.profile import CertificateType, Industry, OrganisationKind, Profile, Region
from registry.accounts.roles import ROLE_RIGHTS, Role
from registry.accounts.service import HOST, Accounts
from registry.allocation.commands import assign
from registry.node import Node
from registry.outcomes import COMMAND, Origin
from registry.secret_files import write_secret_file

TOKEN_CHARACTERS_MAX: Final = 200
ENTERPRISE: Final = Profile(
    name="样例机械有限公司",
    name_en="Sample Machinery Co.",
    kind=OrganisationKind.PRIVATELY_CONTROLLED,
    certificate_type=CertificateType.USCC,
    certificate_number="91320500MA88100047",  # its checks are right, and nobody has it
    region=Region(province="320000", city="320500", detail="1 Sample Road"),
    industry=Industry(section="C", division="34"),
    introduction="The enterprise of the sample catalogue.",
)
_APPLICANT: Final = Origin(actor="sample", via="command")
"""Who submits the enterprise: another one than who approves it."""


async def ensure_operator_key(deployment: Deployment, name: str, node: Node) -> bool:
    """Make a key for the operator of a node, unless the one that is there is valid; whether it is new."""
    accounts = Accounts(node.operations)
    path = deployment.key_file(name, OPERATOR_KEY)
    if await _is_valid(accounts, path):
        return False
    async with node.operations.transaction(COMMAND) as tx:
        made = await accounts.make_operator_key(tx)
    write_secret_file(path, made.token.encode() + b"\n")
    return True


async def ensure_enterprise(deployment: Deployment, node: Node) -> bool:
    """Let the sample enterprise hold the sample prefix on its node, by a key limited to it; whether the key is new."""
    accounts = Accounts(node.operations)
    prefix = Prefix.parse(sample.PREFIX)
    organisation = await _holder(node, prefix) or await _take_in(node, accounts, prefix)
    path = deployment.key_file(sample.PREFIX, ENTERPRISE_KEY)
    if await _is_valid(accounts, path):
        return False
    new = NewKey(
        organisation=organisation,
        name="sample enterprise",
        rights=ROLE_RIGHTS[Role.ENTERPRISE_EDITOR],
        prefixes=frozenset({prefix.key}),
        validity=VALIDITY_MAX,
    )
    async with node.operations.transaction(COMMAND) as tx:
        made = await accounts.keys.create(tx, HOST, new)
    write_secret_file(path, made.token.encode() + b"\n")
    return True


async def _holder(node: Node, prefix: Prefix) -> str | None:
    """The organisation that holds the prefix already."""
    async with node.operations.transaction(COMMAND, commit=False) as tx:
        row = await tx.prefix_row(prefix.key)
    assert row is not None, "the node homes it by now"
    return row.organisation


async def _take_in(node: Node, accounts: Accounts, prefix: Prefix) -> str:
    """Take the enterprise in, approve it and let it hold the prefix; its id."""
    async with node.operations.transaction(_APPLICANT) as tx:
        organisation = await accounts.organisations.create(tx, ENTERPRISE)
    async with node.operations.transaction(COMMAND) as tx:
        await accounts.organisations.review(tx, organisation, approve=True, reason="")
        await assign(tx, prefix, organisation.id)
    return organisation.id


async def _is_valid(accounts: Accounts, path: Path) -> bool:
    """Whether a file holds a key that the node accepts."""
    try:
        with path.open("rb") as file:
            token = file.read(TOKEN_CHARACTERS_MAX).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return await accounts.authenticate(token) is not None

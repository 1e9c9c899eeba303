"""One node for the tests of a module; tests use handles of their own."""

from collections.abc import AsyncIterator

import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa

from protocol.value import HandleValue
from protocol.valuetypes import PublicKey
from tests.integration.registry.bench import admin, secret
from tests.support.postgres import TestPostgres
from tests.support.wired import ADMIN, STRANGER, Wired, wired

KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(postgres: TestPostgres) -> AsyncIterator[Wired]:
    """Give the module's node."""
    async with wired(postgres) as made:
        key = HandleValue(index=301, type="HS_PUBKEY", data=PublicKey.of_rsa(KEY.public_key()).encode())
        for reply in (
            await made.writer().add(ADMIN, key),
            await made.writer().create(STRANGER, admin(), secret("of a stranger")),
        ):
            assert reply.rc == 1, reply.text
        yield made

"""The audit of an organisation holds what anybody does below its prefixes."""

from registry.outcomes import OPERATOR
from tests.integration.registry.bench import Bench, creation, url


async def test_whoever_writes_below_a_prefix_is_in_the_audit_of_its_holder(bench: Bench) -> None:
    await bench.home("88.100.7", organisation="org_holder")
    await bench.create("88.100.7/pump", url("x"))
    await bench.put("88.100.7/pump", url("y"))
    await bench.operations.create(
        [creation("88.100.7/a", url("x")), creation("88.100/b", url("x"))], by=OPERATOR
    )

    async with bench.store.connection() as connection:
        entries = await connection.fetch(
            "SELECT target, organisation FROM audit_log WHERE action LIKE 'identifier.%' ORDER BY id"
        )
    assert [tuple(entry) for entry in entries] == [
        ("88.100.7/pump", "org_holder"),
        ("88.100.7/pump", "org_holder"),
        ("88.100.7/a", "org_holder"),
        ("88.100/b", None),
    ]

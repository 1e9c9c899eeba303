"""Reserved suffixes are reserved for every front end."""

from protocol.codes import ResponseCode
from registry.outcomes import OPERATOR, Created, Rejected
from tests.integration.registry.bench import ADMINISTRATOR, Bench, url

RANGE = """
    INSERT INTO identifier_ranges (id, prefix, head, tail, digits, first, last, reserved, pattern, actor, created)
    VALUES ('rng_one', '88.100', 'LINE-', '', 4, 1, 500, 500, 'LINE-{seq:4}', 'usr_one', now())"""
SHAPE = "INSERT INTO identifier_range_shapes VALUES ('88.100', 5, 4, 0)"
MARK = "UPDATE prefixes SET has_ranges = true WHERE prefix = '88.100'"


async def test_an_administrator_takes_no_suffix_of_a_range(bench: Bench) -> None:
    async with bench.store.connection() as connection:
        for statement in (RANGE, SHAPE, MARK):
            await connection.execute(statement)
    bench.generations.bump_all()

    taken = await bench.create("88.100/line-0007", url("x"), by=ADMINISTRATOR)
    beside = await bench.create("88.100/LINE-0501", url("x"), by=ADMINISTRATOR)
    by_operator = await bench.create("88.100/LINE-0008", url("x"), by=OPERATOR)

    assert isinstance(taken, Rejected)
    assert taken.code == ResponseCode.ACCESS_DENIED
    assert "rng_one" in taken.message
    assert isinstance(beside, Created)
    assert isinstance(by_operator, Created)

"""Personal data: sealed, bound to their person, erased and purged."""

from datetime import timedelta

import pytest

from registry.accounts.people import RETENTION
from registry.accounts.person import Person, Purpose
from registry.problem_types import CONFLICT, NOT_FOUND, ApiProblem
from registry.seal import SealBroken
from tests.integration.registry.accounts.office import OPERATOR, REVIEWER, Office

CONTACT = Person(name="韩梅梅", mobile="13800138000", email="hmm@plant.example")


async def test_fields_are_read_in_the_clear_and_stored_sealed(office: Office) -> None:
    made = await office.organisation(contact=CONTACT)
    assert made.contact is not None
    async with office.reading() as connection:
        fields = await office.accounts.personal(connection, REVIEWER, made.contact, organisation=made.id)
        stored = await connection.fetch("SELECT * FROM personal_fields")
    assert {field.field: field.value for field in fields} == CONTACT.fields()
    assert {field.purpose for field in fields} == {"contact"}
    assert "韩梅梅" not in repr(fields)
    assert not any(
        value.encode() in record["sealed"] for record in stored for value in CONTACT.fields().values()
    )


async def test_no_other_table_and_no_entry_of_the_audit_holds_personal_data(office: Office) -> None:
    await office.organisation(contact=CONTACT)
    async with office.reading() as connection:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'personal_fields'"
        )
        for table in tables:
            rows = await connection.fetch(f'SELECT t::text FROM "{table[0]}" AS t')  # noqa: S608 - names of our own tables
            text = " ".join(row[0] for row in rows)
            assert not any(value in text for value in CONTACT.fields().values()), table[0]


async def test_a_field_that_was_moved_to_another_person_does_not_open(office: Office) -> None:
    first = await office.organisation(contact=CONTACT)
    second = await office.organisation(1, contact=CONTACT)
    async with office.reading() as connection:
        await connection.execute("DELETE FROM personal_fields WHERE person = $1", second.contact)
        await connection.execute(
            "UPDATE personal_fields SET person = $1 WHERE person = $2", second.contact, first.contact
        )
        with pytest.raises(SealBroken):
            await office.accounts.people.read(connection, second.contact or "")


async def test_erasing_leaves_the_id(office: Office) -> None:
    made = await office.organisation(contact=CONTACT)
    person = made.contact or ""
    async with office.acting() as tx:
        await office.accounts.erase_person(tx, OPERATOR, person, organisation=made.id)
    async with office.reading() as connection:
        assert await office.accounts.personal(connection, OPERATOR, person, organisation=made.id) == []
        found = await office.accounts.people.find(connection, person)
        again = await office.accounts.organisations.get(connection, OPERATOR, made.id)
    assert found is not None
    assert found.erased is not None
    assert again.contact == person
    assert ("usr_operator", "person.erase", person) in await office.audited()


async def test_who_is_a_user_is_erased_by_removing_the_user(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    with pytest.raises(ApiProblem) as refused:
        async with office.acting() as tx:
            await office.accounts.erase_person(tx, OPERATOR, user.person, organisation=made.id)
    assert refused.value.type is CONFLICT


async def test_a_person_of_another_organisation_is_unknown(office: Office) -> None:
    made, other = await office.organisation(contact=CONTACT), await office.organisation(1)
    async with office.reading() as connection:
        details = []
        for person, organisation in ((made.contact or "", other.id), ("per_unknown", other.id)):
            with pytest.raises(ApiProblem) as refused:
                await office.accounts.personal(connection, REVIEWER, person, organisation=organisation)
            assert refused.value.type is NOT_FOUND
            details.append(refused.value.detail)
    assert details[0] == details[1]


async def test_what_is_no_longer_needed_is_purged_when_its_retention_is_over(office: Office) -> None:
    made = await office.organisation(contact=CONTACT)
    async with office.acting() as tx:
        await office.accounts.organisations.set_person(tx, made, Purpose.CONTACT, Person(name="李雷"))

    office.pass_time(RETENTION - timedelta(minutes=1))
    await office.accounts.purge()
    async with office.reading() as connection:
        assert await office.accounts.people.read(connection, made.contact or "")

    office.pass_time(timedelta(minutes=2))
    await office.accounts.purge()
    await office.accounts.purge()
    async with office.reading() as connection:
        assert not await office.accounts.people.read(connection, made.contact or "")
        found = await office.accounts.people.find(connection, made.contact or "")
        assert await connection.fetchval("SELECT count(*) FROM personal_fields") == 1
    assert found is not None
    assert found.erased is not None
    purges = [entry for entry in await office.audited() if entry[1] == "person.purge"]
    assert purges == [("system", "person.purge", "personal_fields")]

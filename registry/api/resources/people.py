"""People of organisations: whom an organisation names, and what is known of them."""

from collections.abc import Iterable
from typing import Final

from registry.accounts.people import PersonalField
from registry.accounts.person import Purpose
from registry.accounts.roles import Right
from registry.api.call import Call, Reply
from registry.api.resources.organisations import ONE, TAG, lock_version, organisation_reply
from registry.api.route import Route
from registry.api.schemas.organisations import OrganisationView, PersonalFieldView, PersonChange, PersonView
from registry.problem_types import CONFLICT

ONE_PERSON: Final = ONE + "/people/{person}"


async def name_legal_representative(call: Call) -> Reply:
    """Names another legal representative (法人); an approved organisation is submitted again."""
    return await _name(call, Purpose.LEGAL_REPRESENTATIVE)


async def name_contact(call: Call) -> Reply:
    """Names another contact (联系人)."""
    return await _name(call, Purpose.CONTACT)


async def read_person(call: Call) -> Reply:
    """What is known of a person of the organisation, in the clear; every reading is audited."""
    person, call.read_of = call.path["person"], call.path["organisation"]
    async with call.services.store.connection() as connection:
        fields = await call.services.accounts.personal(
            connection, call.signed_in, person, organisation=call.path["organisation"]
        )
    return Reply(body=person_view(person, fields))


async def erase_person(call: Call) -> Reply:
    """Forgets everything of a legal representative or contact but the id."""
    await call.services.accounts.erase_person(
        call.tx, call.signed_in, call.path["person"], organisation=call.path["organisation"]
    )
    return Reply()


async def _name(call: Call, purpose: Purpose) -> Reply:
    found = await lock_version(call)
    person = call.body_as(PersonChange).person
    return organisation_reply(
        await call.services.accounts.organisations.set_person(call.tx, found, purpose, person)
    )


def person_view(person: str, fields: Iterable[PersonalField]) -> PersonView:
    """What is known of a person."""
    views = [
        PersonalFieldView(
            field=known.field, value=known.value, purpose=known.purpose, retain_until=known.retain_until
        )
        for known in fields
    ]
    return PersonView(id=person, fields=views)


ROUTES: Final = (
    Route(
        method="PUT",
        path=ONE + "/legal-representative",
        name="organisation.name_legal_representative",
        summary="Name the legal representative",
        tag=TAG,
        handler=name_legal_representative,
        right=Right.ORGANISATION_WRITE,
        body=PersonChange,
        reply=OrganisationView,
        etag=True,
        if_match=True,
    ),
    Route(
        method="PUT",
        path=ONE + "/contact",
        name="organisation.name_contact",
        summary="Name the contact",
        tag=TAG,
        handler=name_contact,
        right=Right.ORGANISATION_WRITE,
        body=PersonChange,
        reply=OrganisationView,
        etag=True,
        if_match=True,
    ),
    Route(
        method="GET",
        path=ONE_PERSON,
        name="person.read",
        summary="Read the data of a person",
        tag=TAG,
        handler=read_person,
        right=Right.PERSONAL_READ,
        reply=PersonView,
        audited_read=True,
    ),
    Route(
        method="DELETE",
        path=ONE_PERSON,
        name="person.erase",
        summary="Erase the data of a person",
        tag=TAG,
        handler=erase_person,
        right=Right.ORGANISATION_WRITE,
        status=204,
        problems=(CONFLICT,),
    ),
)

"""Person: what may be known of a human being, with the rules of the fields. Pure.

What is wrong with a field is said without repeating any of it: problems end up in logs of clients.
"""

import re
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from registry.problem_types import FieldFault
from registry.text import Line, refused_character


class Purpose(StrEnum):
    """Why we may keep what we know of a person."""

    SIGN_IN = "sign-in"
    LEGAL_REPRESENTATIVE = "legal-representative"
    CONTACT = "contact"


class PersonCertificate(StrEnum):
    """证件类型 of a person."""

    IDENTITY_CARD = "identity_card"
    """Resident identity card, GB 11643."""
    PASSPORT = "passport"
    OTHER = "other"


class Person(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A legal representative or contact."""

    name: Line
    certificate_type: PersonCertificate | None = None
    certificate_number: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    email: Annotated[str, Meta(min_length=3, max_length=254)] | None = None
    mobile: Annotated[str, Meta(min_length=3, max_length=32)] | None = None
    telephone: Annotated[str, Meta(min_length=3, max_length=32)] | None = None
    fax: Annotated[str, Meta(min_length=3, max_length=32)] | None = None

    def __repr__(self) -> str:
        """Nothing of it: this may end up in a log."""
        return "Person(***)"

    def fields(self) -> dict[str, str]:
        """What is known, by name of the field."""
        known = ((field, getattr(self, field)) for field in self.__struct_fields__)
        return {field: str(value) for field, value in known if value is not None}


_EMAIL: Final = re.compile(r"[!#-'*+/-9=?A-Z^-~.-]{1,64}@[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+")
_TELEPHONE: Final = re.compile(r"\+?[0-9(][0-9 ()-]{2,30}")
_CERTIFICATE: Final = re.compile(r"[0-9A-Za-z()-]{1,40}")
_IDENTITY_CARD: Final = re.compile(r"[1-9][0-9]{16}[0-9X]")
_IDENTITY_CARD_CHECKS: Final = "10X98765432"  # by the sum modulo 11, GB 11643-1999


def person_faults(person: Person, path: str = "") -> list[FieldFault]:
    """Everything that is wrong with a person's data; empty when nothing is. path: JSON pointer of the person."""
    faults = {}
    if (fault := refused_character(person.name)) is not None:
        faults["name"] = fault
    if person.email is not None and not _EMAIL.fullmatch(person.email):
        faults["email"] = "is no e-mail address"
    for field in ("mobile", "telephone", "fax"):
        value = getattr(person, field)
        if value is not None and not _TELEPHONE.fullmatch(value):
            faults[field] = "is no telephone number: digits, blanks, brackets and hyphens, + first"
    if (person.certificate_type is None) != (person.certificate_number is None):
        faults["certificate_number"] = "and certificate_type come together"
    elif person.certificate_number is not None and (fault := _certificate_fault(person)):
        faults["certificate_number"] = fault
    return [FieldFault(f"{path}/{field}", detail) for field, detail in faults.items()]


def _certificate_fault(person: Person) -> str | None:
    number = person.certificate_number or ""
    if not _CERTIFICATE.fullmatch(number):
        return "holds other characters than letters, digits, brackets and hyphens"
    if person.certificate_type is PersonCertificate.IDENTITY_CARD and not _is_identity_card(number):
        return "is no number of an identity card: 18 characters, the last one a check"
    return None


def _is_identity_card(number: str) -> bool:
    if not _IDENTITY_CARD.fullmatch(number):
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(number[:17]))
    return _IDENTITY_CARD_CHECKS[total % 11] == number[17]

"""Plants personal data and secrets into whatever takes them, and finds them again where they do not belong.

Which fields of bodies and parameters take such data is said here once, for every text that a route takes: a new field
is in none of the lists, and a test fails until somebody has thought about it.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import inspect

from registry.api.route import Route

MARK: Final = "zqplant"
"""Stands in every planted text, and nowhere else."""
NUMBER_MARK: Final = "77310479"
"""Stands in every planted telephone number."""

PERSONAL: Final = frozenset(
    {
        "NewUser.email",
        "NewUser.login",
        "NewUser.mobile",
        "NewUser.name",
        "Person.certificate_number",
        "Person.email",
        "Person.fax",
        "Person.mobile",
        "Person.name",
        "Person.telephone",
        "SignIn.login",
        "UserPerson.email",
        "UserPerson.mobile",
        "UserPerson.name",
    }
)
SECRET: Final = frozenset(
    {"NewUser.password", "PasswordChange.current", "PasswordChange.password", "SignIn.password"}
)
SECRET_VALUES: Final = frozenset({"DataForm.value", "ValueForm.data"})
"""Data of values: secret where the type or the permissions of the value say so."""
OPEN: Final = frozenset(
    {
        "AttributeForm.name",
        "AttributeForm.value",
        "DomainLicence.number",
        "InterfaceForm.protocol",
        "NewApiKey.name",
        "Profile.certificate_number",
        "Profile.name",
        "PublicWebsite.name",
        "SealedPage.key",
        "ServerKey.value",
        "WebKey.e",
        "WebKey.n",
    }
)
"""Words that stand for something personal or secret elsewhere."""
OPEN_WORDS: Final = frozenset(
    """
    action actor address addresses city claim contract contractor cursor data_custodian detail district division domain
    format from handle hashFilter held id identifier identity introduction label mint name_en node nonce octets
    organisation parent pattern permissions position prefix prefixes protocolVersion province purpose range reason
    registered_capital registration_authority registration_system_addresses section service_custodian site software
    source subject successor suffix target timestamp ttl type url uscc values wanted website
    """.split()  # noqa: SIM905 - easier to read
)
"""Words that say nothing about people and nothing secret, wherever they stand. Reasons are for everybody, as the
documentation says."""

_numbers: Final = itertools.count(1)


def text_fields(route: Route) -> set[str]:
    """The names, as Struct.field, of every text that a route takes in its body or parameters."""
    found: set[str] = set()
    for shape in (route.body, route.query):
        if shape is not None:
            _walk(inspect.type_info(shape), "", found, set())
    return found


def takes_plants(route: Route) -> bool:
    """Whether a route takes personal data or secrets in fields of their own."""
    return bool(text_fields(route) & (PERSONAL | SECRET))


def _walk(info: inspect.Type, name: str, found: set[str], seen: set[type]) -> None:
    match info:
        case inspect.StructType():
            if info.cls not in seen:
                seen.add(info.cls)
                for field in info.fields:
                    _walk(field.type, f"{info.cls.__name__}.{field.encode_name}", found, seen)
        case inspect.Metadata():
            _walk(info.type, name, found, seen)
        case inspect.UnionType():
            for one in info.types:
                _walk(one, name, found, seen)
        case inspect.ListType() | inspect.VarTupleType():
            _walk(info.item_type, name, found, seen)
        case inspect.DictType():
            _walk(info.value_type, name, found, seen)
        case inspect.StrType() | inspect.AnyType() | inspect.BytesType() | inspect.RawType():
            found.add(name)
        case _:
            pass  # numbers, dates and closed sets of words


def is_classified(name: str) -> bool:
    """Whether somebody has said what a text is."""
    return name in PERSONAL | SECRET | SECRET_VALUES | OPEN or name.rpartition(".")[2] in OPEN_WORDS


def plant(route: Route, body: Mapping[str, Any]) -> dict[str, Any]:
    """A body with something planted in every personal and secret field, in those too that may be left out."""
    assert route.body is not None
    return _planted(inspect.type_info(route.body), dict(body))


def _planted(info: inspect.Type, document: dict[str, Any]) -> dict[str, Any]:
    shape = _struct(info)
    assert shape is not None
    for field in shape.fields:
        name, inner = f"{shape.cls.__name__}.{field.encode_name}", _struct(field.type)
        if name in PERSONAL | SECRET:
            document[field.encode_name] = planted_text(field.encode_name)
        elif inner is not None and _is_planted(inner):
            document[field.encode_name] = _planted(inner, dict(document.get(field.encode_name) or {}))
    if shape.cls.__name__ == "Person":
        document["certificate_type"] = "passport"
    return document


def _struct(info: inspect.Type) -> inspect.StructType | None:
    match info:
        case inspect.StructType():
            return info
        case inspect.Metadata():
            return _struct(info.type)
        case inspect.UnionType():
            return next((found for one in info.types if (found := _struct(one)) is not None), None)
        case _:
            return None


def _is_planted(info: inspect.StructType) -> bool:
    found: set[str] = set()
    _walk(info, "", found, set())
    return bool(found & (PERSONAL | SECRET))


def planted_text(field: str) -> str:
    """Something that a field of this name takes, never the same twice."""
    number = next(_numbers)
    match field:
        case "email":
            return f"{MARK}{number}@quux.example"
        case "mobile" | "telephone" | "fax":
            return f"+49 {NUMBER_MARK}{number:04}"
        case "certificate_number":
            return f"{MARK.upper()}{number}"
        case "login":
            return f"{MARK}-{number}"
        case "password" | "current":
            return f"sesame {number} of {MARK} opens"
        case _:
            return f"{MARK.capitalize()} Quux {number}"


def spellings(text: str) -> Iterator[bytes]:
    """How a text may stand somewhere: plain, or as the hexadecimal digits of octets that a database shows."""
    octets = text.encode()
    for one in (octets, octets.upper(), octets.capitalize()):
        yield one
        yield one.hex().encode()


def finds(octets: bytes, secrets: Iterable[str] = ()) -> list[str]:
    """What of the plants, and of these secrets, stands in some octets: with what stands around it."""
    found = []
    for text in (MARK, NUMBER_MARK, *secrets):
        for spelling in spellings(text) if text in (MARK, NUMBER_MARK) else (text.encode(),):
            for match in itertools.islice(re.finditer(re.escape(spelling), octets), 3):
                around = octets[max(match.start() - 80, 0) : match.end() + 80]
                found.append(around.decode(errors="replace"))
    return found

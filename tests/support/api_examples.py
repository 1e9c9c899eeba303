"""An example request for every route of the API; a route without one fails the matrix of roles and operations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from registry.accounts.roles import Role
from tests.support.api_world import PARENT, PASSWORD, URL, Side

ADMINISTRATOR: Final = Role.ENTERPRISE_ADMINISTRATOR

SITE: Final = {
    "servers": [
        {
            "serverId": 1,
            "address": "8.8.8.8",
            "interfaces": [{"protocol": "TCP", "port": 2641, "query": True, "admin": True}],
        }
    ]
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """How to ask for an operation."""

    path: Callable[[Side], Mapping[str, str]] = lambda side: {}
    """The names in the path, with what stands for them on one side."""
    body: Callable[[Side], Any] | None = None
    query: Callable[[Side], str] = lambda side: ""
    """Without the question mark."""
    expected: tuple[int, ...] = ()
    """Statuses beside success that whoever has the right may meet, since a dry run is not all of the story."""
    foreign: int | None = 404
    """What who belongs to one organisation is told about objects of another; None: it names no object of anybody."""
    refused: frozenset[Role] = field(default_factory=frozenset)
    """Roles that have the right and are refused by a rule of the domain: with 403."""


def _organisation(side: Side) -> Mapping[str, str]:
    return {"organisation": side.organisation}


def _named(*names: str) -> Callable[[Side], Mapping[str, str]]:
    return lambda side: {
        name: side.organisation if name == "organisation" else side.made[name] for name in names
    }


def _user(side: Side) -> Mapping[str, str]:
    return {"user": side.users[Role.READER]}


def _identifier(side: Side) -> Mapping[str, str]:
    return {"identifier": side.identifier}


def _value(side: Side) -> Mapping[str, str]:
    return {"identifier": side.identifier, "index": "1"}


def _prefix(side: Side) -> Mapping[str, str]:
    return {"prefix": side.prefix}


def _move(side: Side) -> Any:
    return {"to": "delegated", "node": side.made["node"], "reason": "a node of its own"}


def _reason(side: Side) -> Any:
    return {"reason": "an inspection"}


def _profile(side: Side) -> Any:
    return {
        "profile": {
            "name": "新样例有限公司",
            "kind": "privately_controlled",
            "certificate_type": "other",
            "certificate_number": "LICENCE-9",
            "region": {"province": "320000", "city": "320500"},
            "industry": {"section": "C", "division": "34"},
        }
    }


def _person(side: Side) -> Any:
    return {"person": {"name": "Another Contact"}}


def _new_user(side: Side) -> Any:
    return {
        "organisation": side.organisation,
        "role": "reader",
        "login": "newcomer",
        "password": PASSWORD,
        "name": "A Newcomer",
    }


ORGANISATIONS: Final = {
    "organisation.create": Example(body=_profile, foreign=None, refused=frozenset({ADMINISTRATOR})),
    "organisation.list": Example(foreign=None),
    "organisation.read": Example(path=_organisation),
    "organisation.change": Example(path=_organisation, body=_profile),
    "organisation.submit": Example(path=_organisation, expected=(409,)),
    "organisation.review": Example(
        path=_organisation, body=lambda side: {"decision": "approve"}, expected=(409,)
    ),
    "organisation.suspend": Example(path=_organisation, body=_reason),
    "organisation.resume": Example(path=_organisation, body=_reason, expected=(409,)),
    "organisation.set_quotas": Example(
        path=_organisation,
        body=lambda side: {
            "requests_per_minute": 10,
            "identifiers_per_day": 10,
            "users_max": 10,
            "keys_max": 10,
        },
    ),
    "organisation.history": Example(path=_organisation),
    "organisation.name_legal_representative": Example(path=_organisation, body=_person),
    "organisation.name_contact": Example(path=_organisation, body=_person),
    "person.read": Example(path=_named("organisation", "person")),
    "person.erase": Example(path=_named("organisation", "person"), expected=(409,)),
    "identity.assign": Example(
        path=_organisation,
        body=lambda side: {"identity": f"302:{side.prefix}/ADMIN", "subject": side.organisation},
    ),
    "identity.list": Example(path=_organisation),
    "identity.withdraw": Example(path=_named("organisation", "identity")),
    "identity.references": Example(path=_organisation),
}
USERS: Final = {
    "user.create": Example(body=_new_user, foreign=403),
    "user.list": Example(foreign=None),
    "user.read": Example(path=_user),
    "user.read_personal": Example(path=_user),
    "user.change_personal": Example(path=_user, body=lambda side: {"name": "Another Name"}),
    "user.change_role": Example(path=_user, body=lambda side: {"role": "auditor"}),
    "user.suspend": Example(path=_user, body=_reason),
    "user.resume": Example(path=_user, body=_reason, expected=(409,)),
    "user.remove": Example(path=_user),
    "user.change_password": Example(
        path=lambda side: {"user": side.users[ADMINISTRATOR]},
        body=lambda side: {"password": "another long pass phrase"},
        expected=(422,),  # one's own takes the present one
        refused=frozenset({Role.REVIEWER, Role.AUDITOR, Role.ENTERPRISE_EDITOR, Role.READER}),
    ),
    "session.create": Example(
        body=lambda side: {"login": "nobody@example", "password": PASSWORD}, foreign=None, expected=(401,)
    ),
    "session.list": Example(foreign=None),
    "session.end": Example(path=lambda side: {"session": "current"}, foreign=None),
    "whoami": Example(foreign=None),
    "whoami.read_personal": Example(foreign=None),
}
KEYS: Final = {
    "key.create": Example(
        body=lambda side: {
            "organisation": side.organisation,
            "name": "line 5",
            "rights": ["prefix:read"],
        },
        foreign=403,
    ),
    "key.list": Example(foreign=None),
    "key.read": Example(path=_named("key")),
    "key.rotate": Example(path=_named("key"), body=lambda side: {}),
    "key.suspend": Example(path=_named("key"), body=_reason),
    "key.resume": Example(path=_named("key"), body=_reason, expected=(409,)),
    "key.revoke": Example(path=_named("key")),
}
IDENTIFIERS: Final = {
    "identifier.create": Example(
        body=lambda side: {"identifier": f"{side.prefix}/PUMP-8", "values": [URL]},
    ),
    "identifier.batch": Example(
        body=lambda side: {
            "items": [{"action": "create", "identifier": f"{side.prefix}/PUMP-9", "values": [URL]}]
        },
        foreign=409,
    ),
    "identifier.list": Example(query=lambda side: f"prefix={side.prefix}"),
    "identifier.read": Example(path=_identifier),
    "identifier.read_restricted": Example(path=_identifier),
    "identifier.versions": Example(path=_identifier),
    "identifier.replace": Example(path=_identifier, body=lambda side: {"values": [URL]}),
    "identifier.put_value": Example(path=_value, body=lambda side: URL),
    "identifier.remove_value": Example(path=_value),
    "identifier.set_state": Example(
        path=_identifier, body=lambda side: {"state": "suspended", "reason": "a recall"}
    ),
    "identifier.delete": Example(path=_identifier),
    "range.reserve": Example(
        body=lambda side: {"prefix": side.prefix, "pattern": "LINE5-{seq:6}", "count": 10}
    ),
    "range.list": Example(query=lambda side: f"prefix={side.prefix}"),
    "range.read": Example(path=_named("range")),
    "range.release": Example(path=_named("range"), body=lambda side: {}),
}
PREFIXES: Final = {
    "application.create": Example(
        body=lambda side: {"organisation": side.organisation, "parent": PARENT, "purpose": "valves"}
    ),
    "application.list": Example(foreign=None),
    "application.read": Example(path=_named("application")),
    "application.review": Example(path=_named("application"), body=lambda side: {"decision": "approve"}),
    "application.withdraw": Example(path=_named("application"), body=lambda side: {}),
    "application.allocate": Example(path=_named("application"), expected=(409,)),
    "prefix.list": Example(foreign=None),
    "prefix.read": Example(path=_prefix),
    "prefix.history": Example(path=_prefix),
    "prefix.suspend": Example(path=_prefix, body=_reason),
    "prefix.resume": Example(path=_prefix, body=_reason, expected=(409,)),
    "prefix.revoke": Example(path=_prefix, body=_reason, expected=(409,)),
    "prefix.purge": Example(path=_prefix, body=_reason, expected=(409,)),
    "prefix.transfer": Example(
        path=_prefix, body=lambda side: {"organisation": side.organisation, "reason": "sold"}, expected=(409,)
    ),
    "prefix.change_route": Example(
        path=_prefix, body=lambda side: {"site": SITE, "reason": "moved"}, expected=(409,)
    ),
    "prefix.make_key": Example(path=_prefix),
    "prefix.assign": Example(
        path=_prefix, body=lambda side: {"organisation": side.organisation}, expected=(409,)
    ),
}
NEIGHBOURS: Final = {
    "node.list": Example(foreign=None),
    "node.read": Example(path=_named("node")),
    "node.confirm": Example(path=_named("node"), refused=frozenset({Role.OPERATOR})),
    "node.bar": Example(path=_named("node"), body=_reason),
    "node.readmit": Example(path=_named("node"), body=_reason, expected=(409,)),
    "node.list_reports": Example(path=_named("node")),
    "filing.decide": Example(
        path=_named("node", "organisation"), body=lambda side: {"state": "filed"}, expected=(404,)
    ),
    "filing.list": Example(foreign=None),
    "application.prove": Example(path=_named("application"), expected=(409,)),
    "upstream.list": Example(foreign=None),
    "upstream.forget": Example(path=_named("node"), expected=(404,)),
    "outbox.list": Example(foreign=None),
    "enrolment.create": Example(
        body=lambda side: {"url": "http://127.0.0.1:9"}, foreign=None, expected=(400, 409, 422, 502, 503)
    ),
    "enrolment.list": Example(foreign=None),
    "enrolment.read": Example(
        path=lambda side: {"enrolment": "enr_aaaaaaaaaaaaaaaaaaaa"}, foreign=None, expected=(404,)
    ),
    "prefix.move": Example(path=_prefix, body=_move, expected=(409, 422)),
    "prefix.probe": Example(path=_prefix, expected=(409, 422)),
    "move.list": Example(foreign=None),
    "move.read": Example(path=_named("move")),
    "move.abort": Example(path=_named("move"), body=_reason, expected=(409,)),
    "node.challenge": Example(body=lambda side: {"nonce": "0123456789abcdef"}, foreign=None),
    "node.apply": Example(),
    "node.ready": Example(path=lambda side: {"enrolment": "enr_aaaaaaaaaaaaaaaaaaaa"}),
    "node.heartbeat": Example(),
    "node.file": Example(),
    "node.report": Example(),
    "node.begin_move": Example(),
    "node.take_page": Example(path=_named("move")),
    "node.give_page": Example(path=_named("move")),
    "node.take_step": Example(path=_named("move")),
}
"""What nodes sign is refused to everybody else before its body is read."""
NODE: Final = {
    "audit.list": Example(foreign=None),
    "audit.head": Example(foreign=None),
    "audit.read": Example(path=lambda side: {"entry": "1"}, foreign=None, expected=(404,)),
    "audit.changes": Example(path=lambda side: {"entry": "1"}, foreign=None, expected=(404,)),
    "usage.list": Example(query=lambda side: f"organisation={side.organisation}"),
    "api.describe": Example(foreign=None),
    "api.reference": Example(foreign=None),
    "problem.list": Example(foreign=None),
    "problem.read": Example(path=lambda side: {"slug": "not-found"}, foreign=None),
}
EXAMPLES: Final[Mapping[str, Example]] = (
    ORGANISATIONS | USERS | KEYS | PREFIXES | IDENTIFIERS | NEIGHBOURS | NODE
)
"""By the name of the route."""

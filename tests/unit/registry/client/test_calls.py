"""The client has a call for every operation of the API, and each sends what the route takes."""

import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest

from registry.accounts.person import Person
from registry.accounts.profile import CertificateType, Industry, OrganisationKind, Profile, Region
from registry.accounts.roles import Right, Role
from registry.accounts.user import SignIn
from registry.api.route import Route
from registry.api.schemas.apikeys import NewApiKey
from registry.api.schemas.applications import NewApplication
from registry.api.schemas.base import Page
from registry.api.schemas.identifiers import IdentifierFilter
from registry.api.schemas.nodes import FilingDecision, NewEnrolment, NewMove
from registry.api.schemas.organisations import Decision, NewOrganisation, OrganisationQuotas
from registry.api.schemas.prefixes import NewRoute
from registry.api.schemas.ranges import RangeFilter
from registry.api.schemas.sites import SiteForm
from registry.api.schemas.users import NewUser, UserPerson
from registry.api.table import ROUTES
from registry.client import Answer, Connection, RegistryClient
from registry.client.address import API_PATH
from registry.identifiers.forms import BatchForm, NewIdentifier, NewRange, StateChange
from registry.identifiers.values import ValueForm
from registry.peers.messages import Direction, FilingState

PROFILE = Profile(
    name="样例机械有限公司",
    kind=OrganisationKind.PRIVATELY_CONTROLLED,
    certificate_type=CertificateType.OTHER,
    certificate_number="1",
    region=Region(province="320000"),
    industry=Industry(section="C", division="34"),
)
PERSON = Person(name="a")
VALUE = ValueForm(index=1, type="URL", data="https://example.com")
NEW = NewIdentifier(identifier="88.100.1/a", values=[VALUE])
SITE = SiteForm(servers=())
QUOTAS = OrganisationQuotas(requests_per_minute=1, identifiers_per_day=1, users_max=1, keys_max=1)

Call = Callable[[RegistryClient], Any]

CALLS: Final[dict[str, Call]] = {
    "organisation.create": lambda c: c.organisations.create(NewOrganisation(profile=PROFILE)),
    "organisation.list": lambda c: c.organisations.every(),
    "organisation.read": lambda c: c.organisations.get("org_a"),
    "organisation.change": lambda c: c.organisations.change("org_a", PROFILE, version=1),
    "organisation.submit": lambda c: c.organisations.submit("org_a"),
    "organisation.review": lambda c: c.organisations.review("org_a", Decision.APPROVE, version=1),
    "organisation.suspend": lambda c: c.organisations.suspend("org_a", "why"),
    "organisation.resume": lambda c: c.organisations.resume("org_a", "why"),
    "organisation.set_quotas": lambda c: c.organisations.set_quotas("org_a", QUOTAS, version=1),
    "organisation.history": lambda c: c.organisations.history("org_a"),
    "organisation.name_legal_representative": lambda c: c.organisations.name_legal_representative(
        "org_a", PERSON, version=1
    ),
    "organisation.name_contact": lambda c: c.organisations.name_contact("org_a", PERSON, version=1),
    "person.read": lambda c: c.organisations.read_person("org_a", "per_a"),
    "person.erase": lambda c: c.organisations.erase_person("org_a", "per_a"),
    "identity.assign": lambda c: c.organisations.assign_identity("org_a", "300:88.100.1/ADMIN", "org_a"),
    "identity.list": lambda c: c.organisations.identities("org_a"),
    "identity.withdraw": lambda c: c.organisations.withdraw_identity("org_a", "300:88.100.1/ADMIN"),
    "identity.references": lambda c: c.organisations.references("org_a"),
    "user.create": lambda c: c.users.create(
        NewUser(role=Role.READER, login="reader", password="long enough a one", name="a")
    ),
    "user.list": lambda c: c.users.every(),
    "user.read": lambda c: c.users.get("usr_a"),
    "user.read_personal": lambda c: c.users.read_person("usr_a"),
    "user.change_personal": lambda c: c.users.change_person("usr_a", UserPerson(name="a"), version=1),
    "user.change_role": lambda c: c.users.change_role("usr_a", Role.READER, version=1),
    "user.suspend": lambda c: c.users.suspend("usr_a", "why"),
    "user.resume": lambda c: c.users.resume("usr_a", "why"),
    "user.remove": lambda c: c.users.remove("usr_a"),
    "user.change_password": lambda c: c.users.set_password("usr_a", "long enough a one"),
    "session.create": lambda c: c.sessions.sign_in(SignIn(login="reader", password="long enough a one")),
    "session.list": lambda c: c.sessions.list(),
    "session.end": lambda c: c.sessions.sign_out("ses_a"),
    "whoami": lambda c: c.sessions.whoami(),
    "key.create": lambda c: c.api_keys.create(NewApiKey(name="a", rights=[Right.IDENTIFIER_READ])),
    "key.list": lambda c: c.api_keys.every(),
    "key.read": lambda c: c.api_keys.get("key_a"),
    "key.rotate": lambda c: c.api_keys.rotate("key_a"),
    "key.suspend": lambda c: c.api_keys.suspend("key_a", "why"),
    "key.resume": lambda c: c.api_keys.resume("key_a", "why"),
    "key.revoke": lambda c: c.api_keys.revoke("key_a"),
    "application.create": lambda c: c.applications.create(NewApplication(parent="88.100", purpose="pumps")),
    "application.list": lambda c: c.applications.every(),
    "application.read": lambda c: c.applications.get("app_a"),
    "application.review": lambda c: c.applications.review("app_a", Decision.APPROVE, version=1),
    "application.withdraw": lambda c: c.applications.withdraw("app_a"),
    "application.prove": lambda c: c.applications.prove("app_a"),
    "application.allocate": lambda c: c.applications.allocate("app_a"),
    "prefix.list": lambda c: c.prefixes.every(),
    "prefix.read": lambda c: c.prefixes.get("88.100.1"),
    "prefix.history": lambda c: c.prefixes.history("88.100.1"),
    "prefix.suspend": lambda c: c.prefixes.suspend("88.100.1", "why"),
    "prefix.resume": lambda c: c.prefixes.resume("88.100.1", "why"),
    "prefix.revoke": lambda c: c.prefixes.revoke("88.100.1", "why"),
    "prefix.purge": lambda c: c.prefixes.purge("88.100.1", "why"),
    "prefix.transfer": lambda c: c.prefixes.transfer("88.100.1", "org_a", "why"),
    "prefix.change_route": lambda c: c.prefixes.change_route(
        "88.100.1", NewRoute(site=SITE, reason="why"), version=1
    ),
    "prefix.make_key": lambda c: c.prefixes.make_key("88.100.1"),
    "prefix.assign": lambda c: c.prefixes.assign("88.100.1", "org_a"),
    "prefix.probe": lambda c: c.prefixes.probe("88.100.1"),
    "prefix.move": lambda c: c.prefixes.move("88.100.1", NewMove(to=Direction.HOSTED, reason="why")),
    "move.list": lambda c: c.moves.every(),
    "move.read": lambda c: c.moves.get("mov_a"),
    "move.abort": lambda c: c.moves.abort("mov_a", "why"),
    "node.list": lambda c: c.nodes.every(),
    "node.read": lambda c: c.nodes.get("a" * 64),
    "node.confirm": lambda c: c.nodes.confirm("a" * 64),
    "node.bar": lambda c: c.nodes.bar("a" * 64, "why"),
    "node.readmit": lambda c: c.nodes.readmit("a" * 64, "why"),
    "node.list_reports": lambda c: c.nodes.reports("a" * 64),
    "filing.list": lambda c: c.nodes.filings(),
    "filing.decide": lambda c: c.nodes.decide_filing(
        "a" * 64, "org_a", FilingDecision(state=FilingState.FILED)
    ),
    "upstream.list": lambda c: c.upstream.every(),
    "upstream.forget": lambda c: c.upstream.forget("a" * 64),
    "outbox.list": lambda c: c.upstream.outbox(),
    "enrolment.create": lambda c: c.upstream.enrol(NewEnrolment(url="https://node.example")),
    "enrolment.list": lambda c: c.upstream.enrolments(),
    "enrolment.read": lambda c: c.upstream.enrolment("enr_a"),
    "identifier.create": lambda c: c.identifiers.create(NEW),
    "identifier.batch": lambda c: c.identifiers.batch(BatchForm(items=[])),
    "identifier.list": lambda c: c.identifiers.every(IdentifierFilter(prefix="88.100.1")),
    "identifier.read": lambda c: c.identifiers.get("88.100.1/a", at=datetime(2026, 1, 1, tzinfo=UTC)),
    "identifier.read_restricted": lambda c: c.identifiers.restricted("88.100.1/a"),
    "identifier.versions": lambda c: c.identifiers.versions("88.100.1/a"),
    "identifier.replace": lambda c: c.identifiers.replace("88.100.1/a", [VALUE], version=1),
    "identifier.put_value": lambda c: c.identifiers.put_value("88.100.1/a", VALUE, version=1),
    "identifier.remove_value": lambda c: c.identifiers.remove_value("88.100.1/a", 1, version=1),
    "identifier.set_state": lambda c: c.identifiers.set_state("88.100.1/a", StateChange(state="active")),
    "identifier.delete": lambda c: c.identifiers.delete("88.100.1/a"),
    "range.reserve": lambda c: c.ranges.reserve(NewRange(prefix="88.100.1", pattern="L-{seq:6}", count=1)),
    "range.list": lambda c: c.ranges.every(RangeFilter(prefix="88.100.1")),
    "range.read": lambda c: c.ranges.get("rng_a"),
    "range.release": lambda c: c.ranges.release("rng_a", first=1),
    "audit.list": lambda c: c.audit.every(),
    "audit.head": lambda c: c.audit.head(),
    "audit.read": lambda c: c.audit.get(1),
    "audit.changes": lambda c: c.audit.changes(1),
    "usage.list": lambda c: c.usage.every(),
}
NOT_CALLED: Final = frozenset({"whoami.read_personal", "problem.list", "problem.read"})
"""Operations that no program of ours needs; documents of the API and what nodes say to each other are left out too."""

CALLABLE: Final = [
    route
    for route in ROUTES
    if not route.path.startswith(f"{API_PATH}/node/")
    and not route.name.startswith("api.")
    and route.name not in NOT_CALLED
]


class Sent(Exception):
    """What a call would have sent; ends it."""

    def __init__(self, method: str, path: str, reply: Any, **more: Any) -> None:
        super().__init__()
        self.method = method
        self.path = path
        self.reply = reply
        self.query = more.get("query") or {}
        self.body = more.get("body")
        self.if_match = more.get("if_match")


class Recorder(Connection):
    """A connection that sends nothing."""

    async def get(self, path: str, reply: Any, query: Any = None) -> Answer[Any]:
        raise Sent("GET", path, reply, query=query)

    async def write(self, method: str, path: str, reply: Any, **more: Any) -> Answer[Any]:
        raise Sent(method, path, reply, **more)


def test_the_client_has_a_call_for_every_operation() -> None:
    assert set(CALLS) == {route.name for route in CALLABLE}


@pytest.mark.parametrize("route", CALLABLE, ids=lambda route: route.name)
async def test_a_call_sends_what_its_route_takes(route: Route) -> None:
    sent = await _sent(CALLS[route.name])

    template = re.sub(r"\{[^}]+\}", "[^/]+", route.path)
    assert re.fullmatch(template, API_PATH + sent.path), sent.path
    assert sent.method == route.method
    assert sent.reply is (type(None) if route.reply is None else route.reply)
    assert type(sent.body) is (type(None) if route.body is None else route.body)
    assert not route.if_match or sent.if_match is not None
    known = () if route.query is None else msgspec.structs.fields(route.query)
    assert set(sent.query) <= {field.encode_name for field in known}
    assert bool(sent.query) or route.query is None or route.query is Page


async def _sent(call: Call) -> Sent:
    client = RegistryClient("https://node.example")
    recorder = Recorder("https://node.example")
    for area in vars(client).values():
        if hasattr(area, "_connection"):
            area._connection = recorder
    made = call(client)
    with pytest.raises(Sent) as caught:
        await (made if inspect.isawaitable(made) else _first(made))
    return caught.value


async def _first(items: Any) -> None:
    async for _ in items:
        return


def test_nothing_of_a_person_or_a_password_shows_in_what_is_sent() -> None:
    shown = repr(SignIn(login="somebody", password="a secret one")) + repr(Person(name="Somebody"))
    assert "secret" not in shown
    assert "omebody" not in shown

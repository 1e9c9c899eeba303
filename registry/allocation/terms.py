"""What holds for every allocation of one node: rules, site, openings; and the checks that all acts share."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NoReturn

from protocol.client.selection import Opening
from protocol.handle import ROOT_PREFIX_OCTETS, Prefix
from protocol.site import Site
from registry.allocation import tables
from registry.allocation.model import AllocatedPrefix
from registry.allocation.routes import RouteRefused, check_site, openings_of
from registry.allocation.rules import DEFAULT_RULES, RESERVED_LABELS, LevelRule, NameRefused, NameRules
from registry.outcomes import Rejected, Result
from registry.prefixes import PrefixRow, PrefixStatus
from registry.problem_types import INVALID_REQUEST, NOT_FOUND, ApiProblem, FieldFault
from registry.problem_types.accounts import ORGANISATION_NOT_APPROVED
from registry.problem_types.allocation import (
    PREFIX_BUSY,
    PREFIX_NAME,
    PREFIX_PARENT,
    PREFIX_TAKEN,
    ROUTE_REFUSED,
)
from registry.settings import RegistrySettings
from registry.text import PARAGRAPH_MAX, check_text
from registry.transaction import Transaction
from registry.work import Connection

NO_PREFIX: Final = "There is no such prefix."
NO_APPLICATION: Final = "There is no such application."
NO_ORGANISATION: Final = "There is no such organisation."
TTL_S: Final = 3_600
QUARANTINE: Final = timedelta(days=365)
"""What settings say unless the operator says otherwise."""
BUSY_SECONDS: Final = "30"
"""When to look again at a prefix that is worked on, for Retry-After."""
_LOCK_PARENT: Final = "SELECT FROM prefixes WHERE prefix = $1 FOR SHARE"
_HOLDER: Final = "SELECT review, suspended_reason FROM organisations WHERE id = $1 FOR SHARE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The rules of one node."""

    node: str
    """What the node is called in what the public is told: its first homed prefix."""
    site: Site
    """Our own site: who serves hosted prefixes."""
    names: NameRules
    openings: tuple[Opening, ...] = ()
    quarantine: timedelta = QUARANTINE
    """How long a revoked prefix is given to nobody."""
    ttl_s: int = TTL_S
    """TTL of the values that say who serves a prefix."""

    @classmethod
    def of(cls, settings: RegistrySettings, site: Site) -> "Terms":
        """The terms that settings describe. site: the node's own."""
        usual: Mapping[int, LevelRule] = DEFAULT_RULES
        own = {
            rule.level: LevelRule(pattern=rule.pattern, number_min=rule.number_min)
            for rule in settings.prefix_rules
        }
        reserved = RESERVED_LABELS | {label.lower() for label in settings.prefix_labels_reserved}
        return cls(
            node=str(settings.home_prefixes()[0]),
            site=site,
            names=NameRules(levels={**usual, **own}, reserved=reserved),
            openings=openings_of(settings.open_networks),
            quarantine=timedelta(days=settings.prefix_quarantine_days),
            ttl_s=settings.delegation_ttl_s,
        )

    @property
    def operator(self) -> str:
        """Who acts on prefixes here, as the public is told."""
        return f"the operator of node {self.node}"

    def name(self, parent: Prefix | None, label: str) -> Prefix:
        """The prefix that a label makes. Raises ApiProblem (422) for one that is not given to anybody."""
        try:
            return self.names.check(parent, label)
        except NameRefused as error:
            fault = FieldFault("/label", str(error))
            raise ApiProblem(PREFIX_NAME, f"{error}.", errors=[fault]) from None

    def check_route(self, site: Site, prefix: Prefix) -> None:
        """Raises ApiProblem (422) for a site that may not serve the prefix."""
        try:
            check_site(site, prefix, self.openings)
        except RouteRefused as error:
            raise ApiProblem(ROUTE_REFUSED, f"{error}.", errors=[FieldFault("/site", str(error))]) from None


def checked_reason(text: str, pointer: str = "/reason") -> str:
    """A reason as it is kept and told. Raises ApiProblem (400) for characters that hide something."""
    try:
        return check_text(text, PARAGRAPH_MAX)
    except ValueError as error:
        fault = FieldFault(pointer, str(error))
        raise ApiProblem(INVALID_REQUEST, f"The text {error}.", errors=[fault]) from None


async def check_holder(connection: Connection, organisation: str) -> None:
    """Raises ApiProblem unless the organisation may hold prefixes; it stays so until the transaction ends."""
    record = await connection.fetchrow(_HOLDER, organisation)
    if record is None:
        raise ApiProblem(NOT_FOUND, NO_ORGANISATION)
    if record["review"] != "approved":
        raise ApiProblem(
            ORGANISATION_NOT_APPROVED, f"The organisation's review is {record['review']}, not approved."
        )
    if record["suspended_reason"] is not None:
        raise ApiProblem(ORGANISATION_NOT_APPROVED, "The organisation is suspended.")


async def parent_row(tx: Transaction, parent: Prefix | None, organisation: str | None) -> PrefixRow:
    """What the node knows of a prefix below which it may allocate; it stays so until the transaction ends.

    organisation: who applies; below a hosted prefix only its holder may. None: the operator, by a command.
    Raises ApiProblem (422).
    """
    key = ROOT_PREFIX_OCTETS if parent is None else parent.key
    await tx.connection.execute(_LOCK_PARENT, key)
    row = await tx.prefix_row(key)
    name = "the root" if parent is None else str(parent)
    if row is None or not row.homed or row.moved is not None:
        raise ApiProblem(PREFIX_PARENT, f"This node does not serve {name}, and allocates nothing below it.")
    if row.status is not PrefixStatus.ACTIVE:
        raise ApiProblem(PREFIX_PARENT, f"{name} is {row.status_text}.")
    if row.frozen:
        raise busy(name)
    if organisation is not None and row.organisation not in (None, organisation):
        raise ApiProblem(PREFIX_PARENT, f"This node does not serve {name}, and allocates nothing below it.")
    return row


async def locked(tx: Transaction, prefix: Prefix) -> AllocatedPrefix:
    """An allocated prefix, locked until the transaction ends. Raises ApiProblem (404)."""
    found = await tables.allocation(tx.connection, prefix.key, lock=True)
    if found is None:
        raise ApiProblem(NOT_FOUND, NO_PREFIX)
    return found


async def check_idle(tx: Transaction, prefix: Prefix) -> None:
    """Raises ApiProblem (409) while all records of the prefix are being worked on."""
    row = await tx.prefix_row(prefix.key)
    job = await tables.last_job(tx.connection, prefix)
    if (row is not None and row.frozen) or (job is not None and job.ended is None):
        raise busy(str(prefix))


def busy(prefix: str) -> ApiProblem:
    """The answer that somebody is working on all records of a prefix."""
    return ApiProblem(
        PREFIX_BUSY, f"All records of {prefix} are being worked on.", headers={"Retry-After": BUSY_SECONDS}
    )


def expect(result: Result) -> None:
    """Raises ApiProblem (409) when the record of a prefix could not be written."""
    if isinstance(result, Rejected):
        refuse(result)


def refuse(rejected: Rejected) -> NoReturn:
    """Raises ApiProblem (409) for a record that could not be written."""
    raise ApiProblem(PREFIX_TAKEN, f"{rejected.handle} cannot be written: {rejected.message}.")


def sentence(error: Exception) -> str:
    """What an error says, as a sentence."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."

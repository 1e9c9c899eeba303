"""What an answer, or the lack of one, is worth: use it, ask another site, or say why nobody could help."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.client.answers import Answer
from protocol.client.resolution import Ask
from protocol.client.selection import Target
from protocol.codes import REFERRALS, ResponseCode, rc_name
from protocol.errors import LameService, NotCertified, NotSent, ResolutionFailed, Unreachable, WireError

_KNOWN_CODES: Final = frozenset(ResponseCode)

TRY_ELSEWHERE: Final = frozenset(
    {
        ResponseCode.ERROR,
        ResponseCode.SERVER_TOO_BUSY,
        ResponseCode.PROTOCOL_ERROR,
        ResponseCode.RECURSION_LIMIT,
        ResponseCode.SERVER_BACKUP,
        ResponseCode.OUT_OF_DATE_SITE_INFO,
        ResponseCode.SERVER_NOT_RESPONSIBLE,
    }
)
"""Codes that say something about the server and nothing about the handle: another site may know."""

LEADS_ON: Final = REFERRALS | {
    ResponseCode.SUCCESS,
    ResponseCode.HANDLE_NOT_FOUND,
    ResponseCode.VALUES_NOT_FOUND,
}
"""The only codes that mean anything when asked for a prefix record or a service handle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one target was given up."""

    target: Target
    cause: str
    code: int | None = None
    is_ours: bool = False
    """Whether nothing was sent, so that the target is not to blame."""
    distrust: NotCertified | None = None
    """Why its answer does not count in a certified walk."""


def judge(ask: Ask, target: Target, answer: Answer) -> Answer | Failure:
    """Whether an answer is worth having, or another site should be asked. Source: PROTOCOL.md §3.7, §7.5."""
    if ask.needs_reply:
        usable = answer.code in _KNOWN_CODES and answer.code not in TRY_ELSEWHERE
    else:
        usable = answer.code in LEADS_ON
    return answer if usable else refusal(target, answer.code, answer.message)


def refusal(target: Target, code: int, words: str) -> Failure:
    """The failure of a server that answered, but uselessly."""
    cause = f"answers response code {code} ({rc_name(code)})"
    return Failure(target=target, cause=f"{cause}: {words}" if words else cause, code=code)


def failure_of(target: Target, error: ResolutionFailed | WireError) -> Failure:
    """The failure of a target from which no usable answer came."""
    return Failure(
        target=target,
        cause=cause_of(error),
        is_ours=isinstance(error, NotSent),
        distrust=error if isinstance(error, NotCertified) else None,
    )


def cause_of(error: ResolutionFailed | WireError) -> str:
    """Why an exchange brought no answer."""
    if isinstance(error, ResolutionFailed):
        return error.cause
    return f"unusable answer: {error}"


def explain(ask: Ask, failures: Sequence[Failure], *, since: str, timed_out: bool) -> ResolutionFailed:
    """What to tell the operator about an exchange that no target answered.

    since: when the first of them began to fail. timed_out: whether the time for the whole resolution is used up.
    """
    name = ask.service.name
    node = name if name.startswith("the ") else f"service of {name}"
    if not failures and timed_out:
        return Unreachable("the time for the whole resolution is used up", node=node)
    if not failures:
        return Unreachable(
            "no query interface that we speak", node=node, remedy=f"correct the interfaces in {name}"
        )
    causes = "; ".join(f"{failure.target}: {failure.cause}" for failure in failures)
    distrust = next((failure.distrust for failure in failures if failure.distrust is not None), None)
    if distrust is not None:
        return NotCertified(causes, node=node, since=since, remedy=distrust.remedy)
    codes = {failure.code for failure in failures if failure.code is not None}
    if codes == {ResponseCode.SERVER_NOT_RESPONSIBLE}:
        remedy = f"home the prefix of {ask.handle} on that node, or correct what {name} says"
        return LameService(causes, node=node, remedy=remedy)
    return Unreachable(causes, node=node, since=since, remedy=_remedy(failures))


def _remedy(failures: Sequence[Failure]) -> str:
    if any(failure.code is not None for failure in failures):
        return "look at that node's log; its answer says that the fault is on its side"
    ports = ", ".join(
        sorted({f"{failure.target.protocol.name} {failure.target.port}" for failure in failures})
    )
    return f"check that the node runs and that {ports} reaches it"

"""The response codes of the Handle protocol for whoever meets one: cause, remedy, and whether to repeat.

Source of the codes: PROTOCOL.md §3.7. A node of ours sends some of them only; those of other servers are here too.
"""

from dataclasses import dataclass
from typing import Final

from protocol.codes import ResponseCode


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a response code means."""

    cause: str
    remedy: str
    retry: bool = False
    """Whether the same request may succeed later, unchanged."""


_OTHER_SITE: Final = "Ask another site of the service; else ask again later."
_NEW_SESSION: Final = "Set up a new session, or go without one."

EXPLANATIONS: Final[dict[ResponseCode, Explanation]] = {
    ResponseCode.SUCCESS: Explanation("The request was carried out.", "Nothing is to be done."),
    ResponseCode.ERROR: Explanation("The server failed, or its database does not answer.", _OTHER_SITE, True),
    ResponseCode.SERVER_TOO_BUSY: Explanation(
        "The server has more requests than it can answer, or the source is over its limit.",
        "Ask again later, and less often.",
        True,
    ),
    ResponseCode.PROTOCOL_ERROR: Explanation(
        "The request cannot be decoded, or came over an interface that does not take it.",
        "Correct the program that sent it.",
    ),
    ResponseCode.OPERATION_NOT_SUPPORTED: Explanation(
        "The server does not offer the operation.", "Ask the primary server, or use another operation."
    ),
    ResponseCode.RECURSION_LIMIT: Explanation(
        "The request was passed on too often.", "Look for resolvers that forward to each other in a circle."
    ),
    ResponseCode.SERVER_BACKUP: Explanation(
        "The server is in maintenance and takes no writes.", "Repeat the write later.", True
    ),
    ResponseCode.HANDLE_NOT_FOUND: Explanation(
        "There is no such handle; a reserved, a draft and a revoked one are told alike.", "Check the name."
    ),
    ResponseCode.HANDLE_ALREADY_EXISTS: Explanation(
        "The handle exists, maybe in other letter case.",
        "Choose another name, or change the one that exists.",
    ),
    ResponseCode.INVALID_HANDLE: Explanation(
        "The name is no handle.", "Correct the name: prefix, slash, suffix, in UTF-8."
    ),
    ResponseCode.VALUES_NOT_FOUND: Explanation(
        "The handle has none of the values that were asked for, or it is suspended.",
        "Ask for other values; the text says since when and why something is suspended.",
    ),
    ResponseCode.VALUE_ALREADY_EXISTS: Explanation(
        "A value with this index exists.", "Choose another index, or allow overwriting."
    ),
    ResponseCode.INVALID_VALUE: Explanation(
        "A value cannot be stored, or breaks a rule of its type.", "Correct the value that the text names."
    ),
    ResponseCode.OUT_OF_DATE_SITE_INFO: Explanation(
        "The client knows an older site record.", "Fetch the site record again.", True
    ),
    ResponseCode.SERVER_NOT_RESPONSIBLE: Explanation(
        "The prefix does not live on this server, or the write went to a mirror.",
        "Ask the server that the prefix record names.",
    ),
    ResponseCode.SERVICE_REFERRAL: Explanation(
        "Another service holds the handle.", "Ask the service in the answer."
    ),
    ResponseCode.PREFIX_REFERRAL: Explanation(
        "Another service holds the prefixes below.", "Ask the service in the answer."
    ),
    ResponseCode.INVALID_ADMINISTRATOR: Explanation(
        "The administrator has no such right on the handle.", "Use an administrator whom its HS_ADMIN names."
    ),
    ResponseCode.ACCESS_DENIED: Explanation(
        "The permissions of the value forbid it.", "Change the permissions first, or leave the value alone."
    ),
    ResponseCode.AUTHENTICATION_NEEDED: Explanation(
        "The operation takes proof of who asks.", "Answer the challenge, or send credentials."
    ),
    ResponseCode.AUTHENTICATION_FAILED: Explanation(
        "The proof is wrong.", "Check key, index and handle of the administrator."
    ),
    ResponseCode.INVALID_CREDENTIAL: Explanation(
        "The message is not signed as its session requires.", _NEW_SESSION
    ),
    ResponseCode.AUTHENTICATION_TIMEOUT: Explanation(
        "The challenge is too old or unknown.", "Send the request again and answer sooner.", True
    ),
    ResponseCode.AUTHENTICATION_ERROR: Explanation(
        "The proof could not be checked, such as when the administrator's own server does not answer.",
        "Repeat it later.",
        True,
    ),
    ResponseCode.SESSION_TIMEOUT: Explanation("The session has ended or is unknown.", _NEW_SESSION),
    ResponseCode.SESSION_FAILED: Explanation("The session could not be set up or read.", _NEW_SESSION),
    ResponseCode.INVALID_SESSION_KEY: Explanation("The message authentication code is wrong.", _NEW_SESSION),
    ResponseCode.NEED_RSA_KEY: Explanation("The session takes an RSA key of the client.", _NEW_SESSION),
    ResponseCode.INVALID_SESSION_SETUP: Explanation("The request for a session is incomplete.", _NEW_SESSION),
    ResponseCode.SESSION_MESSAGE_REJECTED: Explanation(
        "A message of the session came twice.", "Send every message once, with the next counter."
    ),
}
"""Every response code once."""

assert EXPLANATIONS.keys() == set(ResponseCode)

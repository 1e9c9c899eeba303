"""Every exception of the project.

HandleError
├── WireError                a peer sent octets that break the protocol (RC 4)
│   ├── Truncated            fewer octets than a field needs
│   ├── Malformed            octets that contradict each other or a rule
│   └── TooLarge             more than a named limit allows
├── InvalidHandle            a name that cannot be a handle (RC 102)
├── InvalidValue             a value that cannot be stored (RC 202)
├── BadSignature             a signature, MAC or answer that is wrong or that nobody can check (RC 403)
│   ├── Unsigned             no credential where one is needed (RC 404)
│   └── BadMac               not made with the session's key (RC 502)
├── SessionFailed            no key can be agreed on, or a message cannot be decrypted with it (RC 501)
├── SessionLost              a session that the server does not know, or no longer (RC 500)
├── SessionReplay            a message of a session that has come before (RC 505)
├── UnreadableKey            a private-key file that cannot be opened, or with another passphrase
├── OperationRefused         a server's no to what an administrator asked for; has its code and its words
├── ResolutionFailed         no answer could be had; says from whom, why, and what to do
│   ├── Unreachable          no server of a service answered in time
│   │   ├── NotSent          nothing was sent, for want of something on this side
│   │   └── Unclear          a write was sent and no answer came: it may have been done
│   ├── RecursionLimit       more referrals, levels or hops than allowed (RC 6)
│   ├── LameService          every server of a service says that it does not hold the name
│   ├── NoService            a record that should name a service names none
│   ├── PrivateReferral      a referral to an address that nobody opened
│   └── NotCertified         an answer without the signature that the level above certifies
├── StoreUnavailable         the database does not answer
└── SettingsError            what the operator set cannot be used; lists every fault
"""

from collections.abc import Sequence

from protocol.codes import ResponseCode, rc_name


class HandleError(Exception):
    """The root of all exceptions that the project raises on purpose.

    code is what a peer is told; str(self) is for operators and holds no secret.
    """

    code: ResponseCode = ResponseCode.ERROR


class WireError(HandleError):
    """A peer sent octets that break the protocol."""

    code = ResponseCode.PROTOCOL_ERROR


class Truncated(WireError):
    """The octets end before a field does."""


class Malformed(WireError):
    """The octets contradict each other or a rule of the protocol."""


class TooLarge(WireError):
    """A length or count is larger than its named limit."""


class InvalidHandle(HandleError):
    """A name that cannot be a handle."""

    code = ResponseCode.INVALID_HANDLE


class InvalidValue(HandleError):
    """A handle value that cannot be read or stored."""

    code = ResponseCode.INVALID_VALUE


class BadSignature(HandleError):
    """A signature, MAC or answer to a challenge that is wrong, or that cannot be checked."""

    code = ResponseCode.AUTHENTICATION_FAILED


class Unsigned(BadSignature):
    """No credential where one is needed."""

    code = ResponseCode.INVALID_CREDENTIAL


class BadMac(BadSignature):
    """A MAC that was not made with the session's key over this message."""

    code = ResponseCode.INVALID_SESSION_KEY


class SessionFailed(HandleError):
    """No session key can be agreed on with these numbers, or a message cannot be decrypted with the key."""

    code = ResponseCode.SESSION_FAILED


class SessionLost(HandleError):
    """A session that the server does not know, or no longer."""

    code = ResponseCode.SESSION_TIMEOUT


class SessionReplay(HandleError):
    """A message of a session whose counter was used already, or is so old that nobody remembers."""

    code = ResponseCode.SESSION_MESSAGE_REJECTED


class UnreadableKey(HandleError):
    """A private-key file that is none, is damaged, or is encrypted with another passphrase."""


class OperationRefused(HandleError):
    """A server's no to what an administrator asked for.

    refusal: its response code, an open number. words: its own, bounded and printable. node: who said it.
    """

    def __init__(self, refusal: int, words: str = "", *, node: str = "") -> None:
        self.refusal = refusal
        self.words = words
        self.node = node
        told = f': "{words}"' if words else ""
        super().__init__(f"response code {refusal} ({rc_name(refusal)}){told}")


class ResolutionFailed(HandleError):
    """No answer could be had.

    node names who was asked, cause says what went wrong there, since when (a date and time, empty when this is the
    first failure or not known), remedy what a person can do about it.
    """

    def __init__(self, cause: str, *, node: str = "", since: str = "", remedy: str = "") -> None:
        self.cause = cause
        self.node = node
        self.since = since
        self.remedy = remedy
        super().__init__(f"{node}: {cause}" if node else cause)

    def explain(self) -> str:
        """All of it on one line, for whoever asked: which node, what happened there, since when, what to do."""
        cause = str(self).rstrip(".")  # it may be another node's whole sentence
        since = f" (since {self.since})" if self.since else ""
        remedy = f" Remedy: {self.remedy}" if self.remedy else ""
        return f"{cause}{since}.{remedy}"


class Unreachable(ResolutionFailed):
    """No server of a service answered in time."""


class NotSent(Unreachable):
    """Nothing was sent, for want of something on this side; it says nothing about the server."""


class Unclear(Unreachable):
    """A write was sent and no answer came: it may have been done or not."""


class RecursionLimit(ResolutionFailed):
    """A resolution met more referrals, levels or hops than a named limit allows."""

    code = ResponseCode.RECURSION_LIMIT


class LameService(ResolutionFailed):
    """Every server of a service says that it does not hold the name that was delegated to it."""


class NoService(ResolutionFailed):
    """A record that should name the service for a prefix names none, or none that can be read."""


class PrivateReferral(ResolutionFailed):
    """A referral named an address that is not routable and that no setting opens."""


class NotCertified(ResolutionFailed):
    """An answer of a certified walk is not signed by the key that the level above certifies."""


class StoreUnavailable(HandleError):
    """The database does not answer. Reads are told ERROR (2), since real clients go on to a mirror on 2 alone."""


class SettingsError(HandleError):
    """What the operator set cannot be used. faults holds one sentence for each fault found, all at once."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))

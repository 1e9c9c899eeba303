"""Operation codes, response codes and operation flags, with their names and HTTP statuses.

All three are open: a peer may send numbers that stand in no list, so headers carry plain
integers and these enums give the known ones their names.
"""

from enum import IntEnum, IntFlag
from typing import Final


class OpCode(IntEnum):
    """What a request asks for. Source: PROTOCOL.md §3.6."""

    RESOLUTION = 1
    GET_SITE_INFO = 2
    CREATE_HANDLE = 100
    DELETE_HANDLE = 101
    ADD_VALUE = 102
    REMOVE_VALUE = 103
    MODIFY_VALUE = 104
    LIST_HANDLES = 105
    LIST_DERIVED_PREFIXES = 106
    CHALLENGE_ANSWER = 200
    VERIFY_CHALLENGE = 201
    HOME_PREFIX = 300
    UNHOME_PREFIX = 301
    LIST_HOMED_PREFIXES = 302
    SESSION_SETUP = 400
    SESSION_TERMINATE = 401
    SESSION_EXCHANGE_KEY = 402
    NEXT_TRANSACTION_ID = 1000
    RETRIEVE_TRANSACTION_LOG = 1001
    DUMP_HANDLES = 1002
    BACKUP_SERVER = 1003
    IDIS_LOGIN = 2001


class ResponseCode(IntEnum):
    """What came of a request. Source: PROTOCOL.md §3.7; no other code is ever sent, since real clients throw.

    NEED_RSA_KEY and INVALID_SESSION_SETUP are read and never sent: no deployed server does.
    """

    SUCCESS = 1
    ERROR = 2
    SERVER_TOO_BUSY = 3
    PROTOCOL_ERROR = 4
    OPERATION_NOT_SUPPORTED = 5
    RECURSION_LIMIT = 6
    SERVER_BACKUP = 7
    HANDLE_NOT_FOUND = 100
    HANDLE_ALREADY_EXISTS = 101
    INVALID_HANDLE = 102
    VALUES_NOT_FOUND = 200
    VALUE_ALREADY_EXISTS = 201
    INVALID_VALUE = 202
    OUT_OF_DATE_SITE_INFO = 300
    SERVER_NOT_RESPONSIBLE = 301
    SERVICE_REFERRAL = 302
    PREFIX_REFERRAL = 303
    INVALID_ADMINISTRATOR = 400
    ACCESS_DENIED = 401
    AUTHENTICATION_NEEDED = 402
    AUTHENTICATION_FAILED = 403
    INVALID_CREDENTIAL = 404
    AUTHENTICATION_TIMEOUT = 405
    AUTHENTICATION_ERROR = 406
    SESSION_TIMEOUT = 500
    SESSION_FAILED = 501
    INVALID_SESSION_KEY = 502
    NEED_RSA_KEY = 503
    INVALID_SESSION_SETUP = 504
    SESSION_MESSAGE_REJECTED = 505


class OpFlag(IntFlag):
    """The bits of a header's flag word. Source: PROTOCOL.md §3.5."""

    AUTH = 0x8000_0000
    CERT = 0x4000_0000
    ENCR = 0x2000_0000
    RECU = 0x1000_0000
    CACR = 0x0800_0000
    CONT = 0x0400_0000
    KPAL = 0x0200_0000
    PUBL = 0x0100_0000
    RRDG = 0x0080_0000
    OVRW = 0x0040_0000
    MINT = 0x0020_0000
    DNRF = 0x0010_0000
    RECU_AUTH = 0x0000_0004
    """Of the IDIS SDK: an authentication field follows the types of a resolution."""


DEFAULT_FLAGS: Final = OpFlag.RECU | OpFlag.CACR | OpFlag.PUBL
REFERRALS: Final = frozenset({ResponseCode.SERVICE_REFERRAL, ResponseCode.PREFIX_REFERRAL})

_OP_NAMES: Final = {int(code): code.name.lower() for code in OpCode}
_RC_NAMES: Final = {int(code): code.name.lower() for code in ResponseCode}

_HTTP_STATUS: Final = {
    ResponseCode.SUCCESS: 200,
    ResponseCode.SERVER_TOO_BUSY: 503,
    ResponseCode.PROTOCOL_ERROR: 400,
    ResponseCode.OPERATION_NOT_SUPPORTED: 501,
    ResponseCode.SERVER_BACKUP: 503,
    ResponseCode.HANDLE_NOT_FOUND: 404,
    ResponseCode.HANDLE_ALREADY_EXISTS: 409,
    ResponseCode.INVALID_HANDLE: 400,
    ResponseCode.VALUES_NOT_FOUND: 400,
    ResponseCode.VALUE_ALREADY_EXISTS: 409,
    ResponseCode.INVALID_VALUE: 400,
    ResponseCode.SERVER_NOT_RESPONSIBLE: 400,
    ResponseCode.SERVICE_REFERRAL: 300,
    ResponseCode.PREFIX_REFERRAL: 300,
    ResponseCode.INVALID_ADMINISTRATOR: 403,
    ResponseCode.ACCESS_DENIED: 403,
    ResponseCode.AUTHENTICATION_NEEDED: 401,
    ResponseCode.AUTHENTICATION_FAILED: 403,
    ResponseCode.INVALID_CREDENTIAL: 403,
}


def op_name(code: int) -> str:
    """The operation's name in lower case; "other" for a number in no list, so that metric labels stay a closed set."""
    return _OP_NAMES.get(code, "other")


def rc_name(code: int) -> str:
    """The response code's name in lower case; "other" for a number in no list."""
    return _RC_NAMES.get(code, "other")


def http_status(code: int, *, operation: OpCode = OpCode.RESOLUTION, created: bool = False) -> int:
    """The HTTP status that goes with a response code.

    created: whether a write made something new (201) instead of replacing it (200).
    Source: PROTOCOL.md §8.2. A code without a row is a fault of ours: 500.
    """
    if code == ResponseCode.SUCCESS and created:
        return 201
    if code == ResponseCode.VALUES_NOT_FOUND and operation is OpCode.RESOLUTION:
        return 200
    return _HTTP_STATUS.get(code, 500)  # type: ignore[call-overload,no-any-return]

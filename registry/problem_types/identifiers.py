"""Problem types of identifiers and ranges."""

from typing import Final

from protocol.codes import ResponseCode
from registry.problem_types.base import ProblemType

IDENTIFIER_EXISTS: Final = ProblemType(
    slug="identifier-exists",
    status=409,
    title="The identifier exists",
    title_zh="标识已存在",
    cause="An identifier of this name is registered; names that differ in the case of ASCII letters only are the same.",
    remedy="To change it, PUT new values with its ETag in If-Match; else choose another suffix.",
    response_code=ResponseCode.HANDLE_ALREADY_EXISTS,
)
NAME_REFUSED: Final = ProblemType(
    slug="identifier-name",
    status=422,
    title="The name cannot be registered",
    title_zh="标识名称不符合规则",
    cause="The name is not <prefix>/<suffix>, too long, or holds characters that hide or imitate others.",
    remedy="Correct what `detail` names; letters, digits, - . _ ~ are always fine.",
    response_code=ResponseCode.INVALID_HANDLE,
)
VALUE_REFUSED: Final = ProblemType(
    slug="identifier-value",
    status=422,
    title="A value cannot be stored",
    title_zh="标识值不符合规则",
    cause="An index is given twice, data do not fit their type, an address is no http or https URL, or the record is "
    "larger than a message of the Handle protocol.",
    remedy="Correct the value that `errors` or `detail` names.",
    response_code=ResponseCode.INVALID_VALUE,
)
VALUE_PROTECTED: Final = ProblemType(
    slug="identifier-value-protected",
    status=409,
    title="A value may not be changed",
    title_zh="标识值受保护",
    cause="The value was registered without the permission that administrators write it.",
    remedy="Leave the value as it is, or delete the identifier and register it anew.",
    response_code=ResponseCode.ACCESS_DENIED,
)
STATE_REFUSED: Final = ProblemType(
    slug="identifier-state",
    status=409,
    title="The identifier is not in a state for this",
    title_zh="标识当前状态不允许此操作",
    cause="A draft becomes active; what is active or suspended becomes suspended, active or retired; what is retired "
    "stays as it is for good.",
    remedy="Read the identifier again; `detail` names what its state allows.",
    response_code=ResponseCode.ACCESS_DENIED,
)
STATE_INCOMPLETE: Final = ProblemType(
    slug="identifier-state-incomplete",
    status=422,
    title="The change of state lacks something",
    title_zh="状态变更信息不完整",
    cause="Suspending and retiring take a reason; only a retired identifier has a successor, another one than itself; "
    "a state does not begin in the future.",
    remedy="Add or correct what `errors` names.",
)
PATTERN_REFUSED: Final = ProblemType(
    slug="identifier-pattern",
    status=422,
    title="The pattern makes no suffixes",
    title_zh="后缀模式不符合规则",
    cause="A field is unknown, or stands where it cannot; a range takes exactly one {seq:n} and no other such field.",
    remedy="Use literal text and {yyyy} {yy} {mm} {dd} {seq:n} {random:n} {check:mod37}; `detail` says what is wrong.",
)
SERIES_EXHAUSTED: Final = ProblemType(
    slug="identifier-series-exhausted",
    status=409,
    title="The pattern has no free numbers left",
    title_zh="序列号已用尽",
    cause="All numbers of so many digits are used or reserved.",
    remedy="Take more digits, or put the date or another distinction into the pattern.",
)
PREFIX_NOT_ACTIVE: Final = ProblemType(
    slug="identifier-prefix-not-active",
    status=409,
    title="The prefix takes no writes",
    title_zh="前缀不可写",
    cause="The prefix is suspended or revoked, or has moved to another node.",
    remedy="Ask the node's operator why it is suspended; after a move write at the node that `detail` names.",
    response_code=ResponseCode.ACCESS_DENIED,
)
PREFIX_MOVING: Final = ProblemType(
    slug="identifier-prefix-moving",
    status=503,
    title="The prefix is moving to another node",
    title_zh="前缀正在迁移",
    cause="For the last seconds of a move, writes would be lost.",
    remedy="Repeat the request after Retry-After seconds; the answer then may name the new node.",
    retry=True,
    response_code=ResponseCode.SERVER_BACKUP,
)
RANGE_OVERLAP: Final = ProblemType(
    slug="range-overlap",
    status=409,
    title="Some of the suffixes are taken",
    title_zh="号段重叠",
    cause="Another range or an identifier has one of the numbers.",
    remedy="Leave `first` out to get the next free numbers, or take numbers beyond those that `detail` names.",
)
RANGE_RESERVED: Final = ProblemType(
    slug="range-reserved",
    status=409,
    title="The suffix is reserved in a range",
    title_zh="后缀属于预留号段",
    cause="Suffixes of a range are registered by whoever holds the range, by naming it.",
    remedy="Name the range in `range` to activate the suffix, or choose a suffix outside.",
)
RANGE_MISMATCH: Final = ProblemType(
    slug="range-mismatch",
    status=422,
    title="The suffix does not belong to the range",
    title_zh="后缀不属于该号段",
    cause="The range is unknown, belongs to another prefix, was released, or has no such number.",
    remedy="Read the range; its suffixes run from `first` to `last`.",
)
RANGE_SHAPES: Final = ProblemType(
    slug="range-shapes",
    status=409,
    title="Too many kinds of ranges",
    title_zh="号段格式过多",
    cause="The patterns of a prefix's ranges may differ in length in a bounded number of ways, since every "
    "registration has to be compared with them.",
    remedy="Reserve by one of the patterns that the prefix uses already, or one of the same lengths.",
)
BATCH_REFUSED: Final = ProblemType(
    slug="batch-refused",
    status=409,
    title="Nothing of the batch was done",
    title_zh="批处理已整体回滚",
    cause="In the mode `transactional` one item that cannot be done undoes all others; `errors` names the items.",
    remedy='Correct the items, or send {"mode": "best_effort"} and look at the result of each.',
)
ITEM_REPEATED: Final = ProblemType(
    slug="batch-item-repeated",
    status=422,
    title="The identifier stands in the batch twice",
    title_zh="批处理中标识重复",
    cause="The items of a batch are done in no particular order, so that each identifier can be in it once.",
    remedy="Send the second act in another batch.",
)

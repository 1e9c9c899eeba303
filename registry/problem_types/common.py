"""Problem types that any request can meet."""

from typing import Final

from protocol.codes import ResponseCode
from registry.problem_types.base import ProblemType

INVALID_REQUEST: Final = ProblemType(
    slug="invalid-request",
    status=400,
    title="The request cannot be read",
    title_zh="请求格式错误",
    cause="The target, a parameter or the body is not what the reference describes; `errors` says where.",
    remedy="Correct what `errors` or `detail` names, then send it again.",
    response_code=ResponseCode.PROTOCOL_ERROR,
)
CREDENTIAL_IN_TARGET: Final = ProblemType(
    slug="credential-in-target",
    status=400,
    title="A credential was sent in the URL",
    title_zh="凭证不得出现在 URL 中",
    cause="URLs end up in logs and histories, so that a secret in one must count as known to others.",
    remedy="Send the credential as Authorization: Bearer, and replace the one that was sent in the URL.",
    response_code=ResponseCode.PROTOCOL_ERROR,
)
UNAUTHENTICATED: Final = ProblemType(
    slug="unauthenticated",
    status=401,
    title="A valid credential is needed",
    title_zh="需要有效凭证",
    cause="No credential came, or it is unknown, expired, revoked or suspended.",
    remedy="Send Authorization: Bearer with a valid API key or the token of a session.",
    response_code=ResponseCode.AUTHENTICATION_NEEDED,
)
FORBIDDEN: Final = ProblemType(
    slug="forbidden",
    status=403,
    title="The caller lacks the right",
    title_zh="权限不足",
    cause="The role or the API key does not include the right that the operation takes.",
    remedy="Ask an administrator for a role or key with the right that `detail` names.",
    response_code=ResponseCode.ACCESS_DENIED,
)
TEST_KEY: Final = ProblemType(
    slug="test-key",
    status=403,
    title="A test key changes nothing",
    title_zh="测试密钥不能写入",
    cause="A key that begins with hg_test_ may write with ?dry_run=true only.",
    remedy="Add ?dry_run=true, or use a key that begins with hg_live_.",
    response_code=ResponseCode.ACCESS_DENIED,
)
HTTPS_REQUIRED: Final = ProblemType(
    slug="https-required",
    status=403,
    title="Credentials travel over HTTPS only",
    title_zh="凭证只能通过 HTTPS 传输",
    cause="Over plain HTTP anybody on the way could read the credential.",
    remedy="Use https://, and replace the credential that was sent in the clear.",
    response_code=ResponseCode.ACCESS_DENIED,
)
NOT_FOUND: Final = ProblemType(
    slug="not-found",
    status=404,
    title="There is no such thing",
    title_zh="不存在",
    cause="Nothing of this name exists, or nothing that the caller may see.",
    remedy="Check the name or id; list what there is.",
    response_code=ResponseCode.HANDLE_NOT_FOUND,
)
METHOD_NOT_ALLOWED: Final = ProblemType(
    slug="method-not-allowed",
    status=405,
    title="The method is not allowed here",
    title_zh="不支持该方法",
    cause="The path exists, but not for this method.",
    remedy="Use a method that the header Allow names.",
    response_code=ResponseCode.OPERATION_NOT_SUPPORTED,
)
CONFLICT: Final = ProblemType(
    slug="conflict",
    status=409,
    title="The state of the object forbids it",
    title_zh="与当前状态冲突",
    cause="The object is not in a state in which this can be done, or somebody else was faster.",
    remedy="Read the object again and decide afresh.",
)
IN_PROGRESS: Final = ProblemType(
    slug="in-progress",
    status=409,
    title="The same request is being worked on",
    title_zh="相同请求正在处理",
    cause="A request with the same Idempotency-Key has not ended yet.",
    remedy="Wait for the other request, or repeat this one after a second.",
    retry=True,
    response_code=ResponseCode.SERVER_TOO_BUSY,
)
PRECONDITION_FAILED: Final = ProblemType(
    slug="precondition-failed",
    status=412,
    title="The object has changed meanwhile",
    title_zh="对象已被修改",
    cause="The version in If-Match is not the present one.",
    remedy="Read the object again, look at what has changed, and send its new ETag in If-Match.",
)
TOO_LARGE: Final = ProblemType(
    slug="too-large",
    status=413,
    title="The body is too large",
    title_zh="请求体过大",
    cause="The body has more octets than the operation accepts.",
    remedy="Send less at once, such as several smaller batches.",
    response_code=ResponseCode.PROTOCOL_ERROR,
)
UNSUPPORTED_MEDIA_TYPE: Final = ProblemType(
    slug="unsupported-media-type",
    status=415,
    title="The body must be JSON",
    title_zh="仅支持 JSON",
    cause="The Content-Type is not application/json, or the body is compressed.",
    remedy="Send Content-Type: application/json and no Content-Encoding.",
    response_code=ResponseCode.PROTOCOL_ERROR,
)
UNPROCESSABLE: Final = ProblemType(
    slug="unprocessable",
    status=422,
    title="The contents break a rule",
    title_zh="内容不符合规则",
    cause="The request can be read, but a field holds what no such object may hold.",
    remedy="Correct what `errors` or `detail` names, then send it again.",
    response_code=ResponseCode.INVALID_VALUE,
)
KEY_REUSED: Final = ProblemType(
    slug="idempotency-key-reused",
    status=422,
    title="The Idempotency-Key was used for another request",
    title_zh="幂等键已用于其他请求",
    cause="Within 24 hours the same key came with another method, target or body.",
    remedy="Make a fresh key for every request, and send the same one only to repeat that request.",
)
PRECONDITION_REQUIRED: Final = ProblemType(
    slug="precondition-required",
    status=428,
    title="If-Match is needed",
    title_zh="需要 If-Match",
    cause="Without the version that was read, one of two editors would undo the work of the other.",
    remedy="Send the ETag of the object that you have read in If-Match.",
)
TOO_MANY_REQUESTS: Final = ProblemType(
    slug="too-many-requests",
    status=429,
    title="Too many requests",
    title_zh="请求过于频繁",
    cause="The organisation sends more requests a minute than its quota allows.",
    remedy="Wait as many seconds as Retry-After says; use batches; ask the node's operator for a larger quota.",
    retry=True,
    response_code=ResponseCode.SERVER_TOO_BUSY,
)
QUOTA_EXCEEDED: Final = ProblemType(
    slug="quota-exceeded",
    status=429,
    title="The quota is used up",
    title_zh="配额已用完",
    cause="The organisation has as many objects, or has made as many today, as its quota allows.",
    remedy="Ask the node's operator for a larger quota, or remove what is not needed.",
    response_code=ResponseCode.SERVER_TOO_BUSY,
)
INTERNAL: Final = ProblemType(
    slug="internal",
    status=500,
    title="Internal error",
    title_zh="内部错误",
    cause="A fault of this server; its log has the details under the request id.",
    remedy="Tell the node's operator the request id.",
    response_code=ResponseCode.ERROR,
)
STORE_UNAVAILABLE: Final = ProblemType(
    slug="store-unavailable",
    status=503,
    title="The database does not answer",
    title_zh="数据库不可用",
    cause="The node's database is down, restarting or overloaded.",
    remedy="Repeat the request after Retry-After seconds; a write with the same Idempotency-Key is safe to repeat.",
    retry=True,
    response_code=ResponseCode.ERROR,
)
REQUEST_TIMEOUT: Final = ProblemType(
    slug="request-timeout",
    status=408,
    title="The body did not come in time",
    title_zh="请求体接收超时",
    cause="The body was announced, but its end did not come.",
    remedy="Send the request again, over a connection that is fast enough, or in smaller parts.",
    retry=True,
    response_code=ResponseCode.PROTOCOL_ERROR,
)
OVERLOADED: Final = ProblemType(
    slug="overloaded",
    status=503,
    title="Too much is waiting",
    title_zh="系统繁忙",
    cause="More writes wait for the database than can be done soon.",
    remedy="Repeat the request after Retry-After seconds, with the same Idempotency-Key; send batches.",
    retry=True,
    response_code=ResponseCode.SERVER_TOO_BUSY,
)
NETWORK_REFUSED: Final = ProblemType(
    slug="network-refused",
    status=403,
    title="The network may not ask here",
    title_zh="所在网络无权访问",
    cause="The node's operator admits certain networks only.",
    remedy="Ask from another network, or ask the node's operator to admit this one.",
    response_code=ResponseCode.ACCESS_DENIED,
)
NETWORK_RATE: Final = ProblemType(
    slug="network-rate",
    status=429,
    title="Too many requests from the network",
    title_zh="所在网络请求过于频繁",
    cause="All clients of one network together send more requests a second than the node takes from one network.",
    remedy="Wait as many seconds as Retry-After says; use batches; ask the node's operator for a larger limit.",
    retry=True,
    response_code=ResponseCode.SERVER_TOO_BUSY,
)

"""Problem types of nodes and what they send each other."""

from typing import Final

from protocol.codes import ResponseCode
from registry.problem_types.base import ProblemType

NODE_SIGNATURE: Final = ProblemType(
    slug="node-signature",
    status=401,
    title="The signature proves no node",
    title_zh="节点签名无效",
    cause="The request is not signed as nodes sign, was changed on the way, or is meant for another node.",
    remedy="Sign with the key of the node's site record, as the reference of node-to-node requests describes.",
    response_code=ResponseCode.AUTHENTICATION_FAILED,
)
CLOCKS_DIFFER: Final = ProblemType(
    slug="clocks-differ",
    status=401,
    title="The clocks of the two nodes differ",
    title_zh="节点时钟不一致",
    cause="By the clock here the signature is too old, or from the future; `detail` names both times.",
    remedy="Set the clock that is wrong, best by NTP; the request is then sent again by itself.",
    retry=True,
    response_code=ResponseCode.AUTHENTICATION_FAILED,
)
NODE_REPLAY: Final = ProblemType(
    slug="node-replay",
    status=401,
    title="The signed request has come before",
    title_zh="签名请求重复",
    cause="A signature counts once; its nonce was used already.",
    remedy="Sign the request afresh, with another nonce.",
    retry=True,
    response_code=ResponseCode.AUTHENTICATION_FAILED,
)
NODE_UNKNOWN: Final = ProblemType(
    slug="node-unknown",
    status=403,
    title="The node is not known here",
    title_zh="未知节点",
    cause="No node with this key has applied here or is above this one, or the operator has barred it.",
    remedy="Let the node ask this one first: handlegrid neighbour enrol.",
    response_code=ResponseCode.ACCESS_DENIED,
)
NODE_UNCONFIRMED: Final = ProblemType(
    slug="node-unconfirmed",
    status=403,
    title="The node's organisation is not approved yet",
    title_zh="节点所属机构尚未核准",
    cause="Filings and reports are kept only of nodes whose organisation is confirmed, approved and not suspended.",
    remedy="Wait for the review of the organisation, or let it confirm that the node is its own; the message is sent "
    "again by itself.",
    retry=True,
    response_code=ResponseCode.ACCESS_DENIED,
)
TOO_MANY_NODE_REQUESTS: Final = ProblemType(
    slug="too-many-node-requests",
    status=429,
    title="The node sends too many requests",
    title_zh="节点请求过于频繁",
    cause="More signed requests came than this node remembers nonces of.",
    remedy="Wait as many seconds as Retry-After says.",
    retry=True,
    response_code=ResponseCode.SERVER_TOO_BUSY,
)
NODE_SITE: Final = ProblemType(
    slug="node-site",
    status=422,
    title="The node cannot be reached as its site record says",
    title_zh="节点站点信息不可用",
    cause="The site record names addresses that are not accepted, no usable key, or interfaces that do not answer.",
    remedy="Correct what `detail` names in the node's settings, and let it apply again.",
    response_code=ResponseCode.INVALID_VALUE,
)
NODE_UNREACHABLE: Final = ProblemType(
    slug="node-unreachable",
    status=422,
    title="The other node does not answer",
    title_zh="对端节点无响应",
    cause="Another node that this request needs did not answer, or did not prove who it is; `detail` says which.",
    remedy="See to the other node, then repeat the request.",
    retry=True,
    response_code=ResponseCode.ERROR,
)
NODE_APPLICATION: Final = ProblemType(
    slug="node-application",
    status=409,
    title="The application of the node contradicts what is known",
    title_zh="节点申请与现有信息冲突",
    cause="The same message came with other contents, or the organisation is not one that this node can apply for.",
    remedy="Read `detail`; apply anew with what it names.",
)
MOVE_REFUSED: Final = ProblemType(
    slug="move-refused",
    status=409,
    title="The prefix cannot be moved",
    title_zh="前缀无法迁移",
    cause="The prefix is not where the move starts, is moving already, or the other node cannot take it.",
    remedy="Read `detail`; the state of the move is at /api/v1/moves.",
)

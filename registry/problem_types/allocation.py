"""Problem types of applications and prefixes."""

from typing import Final

from protocol.codes import ResponseCode
from registry.problem_types.base import ProblemType

APPLICATION_STATE: Final = ProblemType(
    slug="application-state",
    status=409,
    title="The application is not in a state for this",
    title_zh="申请当前状态不允许此操作",
    cause="An application is decided once, by one reviewer, and allocated once; `detail` names its state.",
    remedy="Read the application again; somebody else may have decided it meanwhile.",
)
APPLICATIONS_OPEN: Final = ProblemType(
    slug="applications-open",
    status=409,
    title="Too many applications wait for a decision",
    title_zh="待处理的申请过多",
    cause="An organisation may have a bounded number of applications that are not decided yet.",
    remedy="Wait for decisions, or withdraw applications that are not needed any more.",
)
OWN_APPLICATION: Final = ProblemType(
    slug="own-application",
    status=403,
    title="Nobody reviews what he applied for",
    title_zh="不得审核本人提交的申请",
    cause="The reviewer is the one who made the application.",
    remedy="Let another reviewer decide.",
    response_code=ResponseCode.ACCESS_DENIED,
)
PREFIX_NAME: Final = ProblemType(
    slug="prefix-name",
    status=422,
    title="The prefix cannot be given to anybody",
    title_zh="前缀名称不符合规则",
    cause="The label breaks the rule of its level, is reserved, or holds characters that hide or imitate others.",
    remedy="Choose a label as `detail` says, or leave it out for the next free number.",
)
PREFIX_PARENT: Final = ProblemType(
    slug="prefix-parent",
    status=422,
    title="This node allocates nothing below that prefix",
    title_zh="本节点不在该前缀下分配",
    cause="Prefixes are allocated by the node that serves the prefix above them, and below a hosted prefix to its "
    "holder alone.",
    remedy="Apply at the node of the prefix above, or name a `parent` that this node serves.",
)
PREFIX_TAKEN: Final = ProblemType(
    slug="prefix-taken",
    status=409,
    title="The prefix is allocated",
    title_zh="前缀已被分配",
    cause="Somebody holds the prefix, perhaps since a moment ago, or its label differs in case only.",
    remedy="Choose another label, or leave it out for the next free number.",
    response_code=ResponseCode.HANDLE_ALREADY_EXISTS,
)
PREFIX_QUARANTINED: Final = ProblemType(
    slug="prefix-quarantined",
    status=409,
    title="The prefix was revoked and rests",
    title_zh="前缀已注销，仍在保留期内",
    cause="A revoked prefix is given to nobody for a while, since its identifiers are still on products.",
    remedy="Choose another label, or wait until the time that `detail` names.",
)
PREFIX_STATE: Final = ProblemType(
    slug="prefix-state",
    status=409,
    title="The prefix is not in a state for this",
    title_zh="前缀当前状态不允许此操作",
    cause="Each act starts from certain states of a prefix; `detail` names the state and what it allows.",
    remedy="Read the prefix again, and do first what leads to the right state.",
)
PREFIX_BUSY: Final = ProblemType(
    slug="prefix-busy",
    status=409,
    title="Work on all records of the prefix is under way",
    title_zh="前缀正在迁移或转移",
    cause="The prefix is moving to another node, or its records are being handed over to another organisation.",
    remedy="Repeat the request when that is done; reading the prefix shows how far it is.",
    retry=True,
)
PREFIX_NOT_EMPTY: Final = ProblemType(
    slug="prefix-not-empty",
    status=409,
    title="Something is left below the prefix",
    title_zh="前缀下仍有内容",
    cause="Prefixes are allocated below it, or identifiers of an earlier holder are still stored.",
    remedy="Revoke the prefixes below, or delete what is left (POST .../purge), first.",
)
PREFIX_HOSTING: Final = ProblemType(
    slug="prefix-hosting",
    status=409,
    title="The prefix is served elsewhere than this takes",
    title_zh="前缀的托管方式不适用此操作",
    cause="Some acts are for prefixes that this node hosts, others for prefixes with a node of their own.",
    remedy="Read the prefix: `hosting` says who serves it; moving it (POST .../move) changes that.",
)
NODE_NOT_PROVED: Final = ProblemType(
    slug="node-not-proved",
    status=409,
    title="The node has not proved that it holds its key",
    title_zh="节点尚未证明持有密钥",
    cause="A prefix is delegated only to a node that has signed with the key in its site record.",
    remedy="Let the node itself sign: it applies, or announces its new site, over the API between nodes.",
    response_code=ResponseCode.AUTHENTICATION_NEEDED,
)
ROUTE_REFUSED: Final = ProblemType(
    slug="route-refused",
    status=422,
    title="The site or address is not accepted",
    title_zh="站点或地址不被接受",
    cause="It leads into a network that is not public, in whatever spelling, or the site record is incomplete.",
    remedy="Name public addresses, or ask the operator to open the network (open_networks) for this prefix.",
)

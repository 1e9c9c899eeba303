"""Problem types of organisations, users, sessions and API keys."""

from typing import Final

from protocol.codes import ResponseCode
from registry.problem_types.base import ProblemType

ORGANISATION_STATE: Final = ProblemType(
    slug="organisation-state",
    status=409,
    title="The organisation is not in a state for this",
    title_zh="主体当前状态不允许此操作",
    cause="Submission, review, suspension and resumption each start from certain states; `detail` names this one.",
    remedy="Read the organisation again; `state` and `review` say what is possible.",
)
ORGANISATION_NOT_APPROVED: Final = ProblemType(
    slug="organisation-not-approved",
    status=409,
    title="The organisation is not approved",
    title_zh="主体尚未通过审核",
    cause="Prefixes are given to organisations that were reviewed and approved and are not suspended.",
    remedy="Submit the organisation for review, and wait for the decision.",
)
SELF_REVIEW: Final = ProblemType(
    slug="self-review",
    status=403,
    title="Nobody reviews what he submitted",
    title_zh="不得审核本人提交的内容",
    cause="The reviewer is the one who submitted the organisation or changed it last.",
    remedy="Let another reviewer decide.",
    response_code=ResponseCode.ACCESS_DENIED,
)
CERTIFICATE_TAKEN: Final = ProblemType(
    slug="certificate-taken",
    status=409,
    title="An approved organisation has this certificate",
    title_zh="证件号已被其他主体使用",
    cause="Another organisation was approved with the same type and number of certificate.",
    remedy="Look for the other organisation by its certificate; reject the one that is not its owner.",
)
SIGN_IN_REFUSED: Final = ProblemType(
    slug="sign-in-refused",
    status=401,
    title="The sign-in is refused",
    title_zh="登录失败",
    cause="Login or password is wrong, or the user is suspended, or locked for a while after wrong passwords. "
    "Which of these it is, is not told.",
    remedy="Check organisation, login and password; wait an hour, or ask an administrator for a new password.",
    response_code=ResponseCode.AUTHENTICATION_FAILED,
)
SIGN_IN_BUSY: Final = ProblemType(
    slug="sign-in-busy",
    status=429,
    title="Too many sign-ins at once",
    title_zh="登录请求过多",
    cause="Passwords are checked slowly on purpose, and a bounded number of checks may wait.",
    remedy="Repeat the request after Retry-After seconds.",
    retry=True,
    response_code=ResponseCode.SERVER_TOO_BUSY,
)
LOGIN_TAKEN: Final = ProblemType(
    slug="login-taken",
    status=409,
    title="The login is taken",
    title_zh="登录名已被占用",
    cause="Another user of the same organisation has this login.",
    remedy="Choose another login.",
)
ROLE_NOT_GRANTABLE: Final = ProblemType(
    slug="role-not-grantable",
    status=403,
    title="This role is not the caller's to give",
    title_zh="无权授予该角色",
    cause="Nobody gives a role that is worth more than his own, or that does not fit the organisation.",
    remedy="Ask somebody with all rights of an operator or enterprise administrator.",
    response_code=ResponseCode.ACCESS_DENIED,
)
RIGHTS_NOT_GRANTABLE: Final = ProblemType(
    slug="rights-not-grantable",
    status=403,
    title="These rights are not the caller's to give",
    title_zh="无权授予该权限",
    cause="An API key gets no right that its maker lacks, and none that has no meaning in its organisation.",
    remedy="Leave out the rights that `detail` names.",
    response_code=ResponseCode.ACCESS_DENIED,
)
SELF_CHANGE: Final = ProblemType(
    slug="self-change",
    status=403,
    title="Nobody does this to himself",
    title_zh="不得对本人执行此操作",
    cause="A user would change his own role, or suspend or remove himself.",
    remedy="Let another administrator do it.",
    response_code=ResponseCode.ACCESS_DENIED,
)
USER_STATE: Final = ProblemType(
    slug="user-state",
    status=409,
    title="The user is not in a state for this",
    title_zh="用户当前状态不允许此操作",
    cause="A removed user stays removed; only a suspended one can be resumed.",
    remedy="Read the user again; make a new one in place of a removed one.",
)
KEY_STATE: Final = ProblemType(
    slug="key-state",
    status=409,
    title="The API key is not in a state for this",
    title_zh="密钥当前状态不允许此操作",
    cause="A revoked or expired key stays so; only a suspended one can be resumed.",
    remedy="Make a new key.",
)
IDENTITY_TAKEN: Final = ProblemType(
    slug="identity-taken",
    status=409,
    title="The identity is assigned already",
    title_zh="该身份已被登记",
    cause="An identity `index:handle` belongs to one subject.",
    remedy="Remove the assignment first, or choose another index.",
)

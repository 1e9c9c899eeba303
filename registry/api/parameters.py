"""The names in the paths of the API: what they stand for, and what a segment must look like to be looked up at all.

A segment that cannot be the name of anything is answered as one that is unknown, so that it tells nothing.
"""

import re
from dataclasses import dataclass
from typing import Final

SEGMENT_CHARACTERS_MAX: Final = 2_048
"""The longest handle, in octets."""
_WORD: Final = r"[A-Za-z0-9._~-]{1,128}"
_NO_CONTROLS: Final = r"[^\x00-\x1f\x7f-\x9f]{1,2048}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A segment of a path."""

    description: str
    example: str
    pattern: str = _WORD

    def fits(self, text: str) -> bool:
        """Whether the text can be such a name."""
        return re.fullmatch(self.pattern, text) is not None


PARAMETERS: Final[dict[str, Parameter]] = {
    "application": Parameter(description="Id of an application.", example="app_mbzwc3tpmnqxezltorxxe2lo"),
    "enrolment": Parameter(description="Id of an enrolment.", example="enr_mbzwc3tpmnqxezltorxxe2lo"),
    "entry": Parameter(description="Number of an entry.", example="1"),
    "field": Parameter(description="Name of a field.", example="telephone"),
    "identifier": Parameter(
        description="The identifier, percent-encoded as one segment.",
        example="88.100.1/PUMP-7",
        pattern=_NO_CONTROLS,
    ),
    "identity": Parameter(
        description="Index and handle of a key, percent-encoded as one segment.",
        example="300:88.100.1/ADMIN",
        pattern=_NO_CONTROLS,
    ),
    "index": Parameter(description="Index of a value.", example="1", pattern="[0-9]{1,10}"),
    "job": Parameter(description="Id of a job.", example="job_mbzwc3tpmnqxezltorxxe2lo"),
    "key": Parameter(description="Id of an API key.", example="key_mbzwc3tpmnqxezltorxxe2lo"),
    "move": Parameter(description="Id of a move.", example="mov_mbzwc3tpmnqxezltorxxe2lo"),
    "node": Parameter(description="Id of a node's key.", example="3f5c" * 16),
    "organisation": Parameter(description="Id of an organisation.", example="org_mbzwc3tpmnqxezltorxxe2lo"),
    "person": Parameter(description="Id of a person.", example="per_mbzwc3tpmnqxezltorxxe2lo"),
    "prefix": Parameter(
        description="The prefix, percent-encoded where needed.", example="88.100.1", pattern=_NO_CONTROLS
    ),
    "range": Parameter(description="Id of a range.", example="rng_mbzwc3tpmnqxezltorxxe2lo"),
    "session": Parameter(description="Id of a session.", example="ses_mbzwc3tpmnqxezltorxxe2lo"),
    "slug": Parameter(description="Name of a problem type.", example="not-found"),
    "user": Parameter(description="Id of a user.", example="usr_mbzwc3tpmnqxezltorxxe2lo"),
}
"""By name; a new name in a path is added here."""

"""What a caller can do with a job."""

from typing import Final, Literal, get_args

Verb = Literal["create", "read", "logs", "cancel", "delete"]
"""As policy files and errors name it. `read` is ReadJob, ReadStatus, ListJobs and both watches."""

VERBS: Final[tuple[Verb, ...]] = get_args(Verb)

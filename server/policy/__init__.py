"""Who may do what: a file of subjects and their grants, and what it comes to for one caller."""

from server.policy.bounds import Allow as Allow
from server.policy.bounds import Limits as Limits
from server.policy.file import read_policy as read_policy
from server.policy.refusals import InvalidPolicy as InvalidPolicy
from server.policy.refusals import LimitExceeded as LimitExceeded
from server.policy.rights import Grant as Grant
from server.policy.rights import Readable as Readable
from server.policy.rights import Rights as Rights
from server.policy.subjects import EVERYTHING as EVERYTHING
from server.policy.subjects import Policy as Policy
from server.policy.subjects import Subject as Subject
from server.policy.subjects import owner_label as owner_label
from server.policy.verbs import VERBS as VERBS
from server.policy.verbs import Verb as Verb

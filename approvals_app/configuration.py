"""Approval policies as they are configured."""

from approvals_app.models import ApprovalPolicy
from events_app.configuration import Configuration
from orchestrator_site.errors import NotFound

POLICY_CHANGED = "policy.changed"


class UnknownPolicy(NotFound):
    """There is no policy with this name."""


policies = Configuration(
    ApprovalPolicy,
    POLICY_CHANGED,
    key="name",
    said_as="policy",
    unknown=lambda name: UnknownPolicy(f"There is no policy {name}."),
)

"""Approval policies as they are configured."""

import difflib
from collections.abc import Iterable

from approvals_app import hooks
from approvals_app.errors import UnknownPolicy
from approvals_app.event_types import POLICY_CHANGED
from approvals_app.models import ApprovalPolicy
from events_app.configuration import Configuration
from orchestrator_site.core.errors import Invalid

policies = Configuration(
    ApprovalPolicy,
    POLICY_CHANGED,
    key="name",
    said_as="policy",
    unknown=lambda name: UnknownPolicy(f"There is no policy {name}."),
)


def ensure_known(types: Iterable[str]) -> None:
    """Raise Invalid for a type that no task can have; suggest the nearest one."""
    known = {name for task_types in hooks.task_types for name in task_types()}
    for name in types:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"Did you mean {near[0]}?" if near else "Routing has the types there are."
            raise Invalid(f"There are no tasks of the type {name}. {meant}", field="types")

"""The tables of tasks, agents and routing."""
# ruff: noqa: F401 - imported for others

from tasks_app.models.agent import Agent, RoutingRule
from tasks_app.models.bulk import BulkOperation, BulkTasks
from tasks_app.models.count import TaskCount
from tasks_app.models.dependency import Dependency, Settlement
from tasks_app.models.task import (
    FREE,
    IS_OPEN,
    NEXT,
    OPEN,
    PARTIAL,
    STAMP,
    FailureReason,
    IsOpen,
    Priority,
    Status,
    Task,
    TaskQuerySet,
    new_task_id,
)

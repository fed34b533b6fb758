"""What task requests and answers look like."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from orchestrator_site.api.serializers import (
    RowSerializer,
    SharedFieldsSerializer,
    SmallObjectField,
    SuccessSerializer,
    TimeField,
    WholeNumberField,
)
from orchestrator_site.core.times import rfc3339
from tasks_app.models import Priority, Status, Task
from tasks_app.queries import GatedTask

REPORTED = (Status.IN_PROGRESS, Status.COMPLETED, Status.FAILED, Status.CANCELLED)
YEAR = 31_536_000


class NewTaskSerializer(SharedFieldsSerializer):
    """A task to hand in. Fields not listed here are ignored."""

    type = serializers.CharField(
        max_length=64, trim_whitespace=False, help_text="One that a routing rule takes."
    )
    payload = serializers.DictField(help_text="What the agent needs to know; any JSON object.")
    priority = serializers.ChoiceField(choices=Priority.choices, default=Priority.P2.value)
    source = serializers.CharField(max_length=100, required=False, allow_blank=True)
    sla_target = WholeNumberField(
        min_value=1,
        max_value=YEAR,
        required=False,
        allow_null=True,
        help_text="Seconds until it should be done.",
    )
    metadata = serializers.DictField(
        required=False, help_text="Anything else; `trace_id` in it is taken."
    )
    trace_id = serializers.CharField(max_length=128, required=False, allow_blank=True)
    parent_task_id = serializers.CharField(max_length=64, required=False, allow_blank=True)
    not_before = TimeField(required=False, allow_null=True, help_text="Not handed out earlier.")
    depends_on = serializers.ListField(
        child=serializers.CharField(max_length=64),
        required=False,
        max_length=50,
        help_text="Ids of tasks to wait for.",
    )
    on_dependency_failure = serializers.ChoiceField(
        choices=["fail", "free"],
        default="fail",
        help_text="If one of them fails: fail too, or run anyway.",
    )
    max_attempts = WholeNumberField(min_value=1, max_value=100, default=3)


class ReportSerializer(SharedFieldsSerializer):
    """How a task stands, from the query string or the body."""

    status = serializers.ChoiceField(choices=REPORTED)
    error = serializers.CharField(
        max_length=4096, required=False, default="", allow_blank=True, allow_null=True
    )
    attempt = WholeNumberField(
        in_query=True,
        min_value=0,
        max_value=2**31 - 1,
        required=False,
        help_text="The fencing token of your lease.",
    )
    result = SmallObjectField(
        required=False, allow_null=True, help_text="What came of it; at most 256 KiB."
    )
    retryable = serializers.BooleanField(
        required=False, default=False, help_text="A failure worth another attempt."
    )


class ApprovalStateSerializer(serializers.Serializer):
    """The gate of a task."""

    approval_id = serializers.CharField(allow_null=True)
    status = serializers.CharField(allow_null=True)
    required = serializers.BooleanField()


class SlaSerializer(serializers.Serializer):
    """A deadline and how it stands: none, on_track, warning, violated, met, or closed."""

    target = serializers.IntegerField(allow_null=True, help_text="Seconds.")
    deadline = serializers.DateTimeField(allow_null=True)
    state = serializers.CharField()


@extend_schema_field({"type": "object", "additionalProperties": {}})
class ObjectField(serializers.JSONField):
    """A JSON object as it was stored."""


class TaskSerializer(RowSerializer):
    """A task as everybody may see it."""

    approval = ApprovalStateSerializer(read_only=True)
    sla = serializers.SerializerMethodField()
    parent_task_id = serializers.CharField(help_text="Empty if it has none.")
    payload = ObjectField()
    metadata = ObjectField()
    result = ObjectField(allow_null=True)

    class Meta:
        model = Task
        fields = [
            "task_id",
            "type",
            "status",
            "assigned_agent",
            "priority",
            "payload",
            "source",
            "metadata",
            "trace_id",
            "parent_task_id",
            "created_by",
            "sla_target",
            "sla",
            "approval",
            "created_at",
            "assigned_at",
            "started_at",
            "completed_at",
            "failed_at",
            "cancelled_at",
            "error",
            "failure_reason",
            "result",
            "not_before",
            "open_dependencies",
            "attempt",
            "max_attempts",
            "holder",
            "lease_expires_at",
            "progress",
            "note",
        ]

    def to_representation(self, row: GatedTask) -> dict[str, Any]:
        """Write out a task, with its gate as `approval`."""
        return self.written(row.task, {"approval": row.gate})

    def get_sla(self, task: Task) -> SlaSerializer:
        """Return the deadline."""
        return {  # type: ignore[return-value]
            "target": task.sla_target,
            "deadline": rfc3339(task.due_at) if task.due_at else None,
            "state": task.sla_state,
        }


class TaskAnswer(SuccessSerializer):
    """One task."""

    task_id = serializers.CharField()
    task = TaskSerializer()


class TaskCreatedAnswer(TaskAnswer):
    """The new task, and who has it."""

    message = serializers.CharField()


class StatusAnswer(SuccessSerializer):
    """The status a task now has."""

    task_id = serializers.CharField()
    status = serializers.CharField()
    attempt = serializers.IntegerField()


class TaskListQuery(SharedFieldsSerializer):
    """Filters, all of which must fit."""

    status = serializers.ChoiceField(choices=Status.values, required=False)
    type = serializers.CharField(max_length=64, required=False)
    priority = serializers.ChoiceField(choices=Priority.choices, required=False)
    assigned_agent = serializers.CharField(max_length=64, required=False)
    source = serializers.CharField(max_length=100, required=False)
    created_by = serializers.CharField(max_length=128, required=False)
    trace_id = serializers.CharField(max_length=128, required=False)
    parent_task_id = serializers.CharField(max_length=64, required=False)
    failure_reason = serializers.CharField(max_length=20, required=False)
    overdue = serializers.BooleanField(required=False, allow_null=True, default=None)
    limit = WholeNumberField(in_query=True, min_value=1, max_value=200, default=50)
    cursor = serializers.CharField(max_length=100, required=False)


class TaskListAnswer(SuccessSerializer):
    """A page of tasks, newest first. `next` goes back in as `cursor`; null on the last page."""

    count = serializers.IntegerField(help_text="Tasks on this page.")
    tasks = TaskSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class QueueSerializer(serializers.Serializer):
    """How much there is to do."""

    pending_tasks = serializers.IntegerField(help_text="Pending and assigned.")
    processing_tasks = serializers.IntegerField(help_text="In progress.")
    total_tasks = serializers.IntegerField(help_text="All that are kept.")


class SlaCountSerializer(serializers.Serializer):
    """Deadlines so far."""

    warnings = serializers.IntegerField()
    violations = serializers.IntegerField()


class StatsAnswer(serializers.Serializer):
    """Counts only."""

    queue = QueueSerializer()
    by_status = serializers.DictField(child=serializers.IntegerField())
    sla = SlaCountSerializer()
    timestamp = serializers.DateTimeField()

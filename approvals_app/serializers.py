"""What approval requests and answers look like."""

from rest_framework import serializers

from approvals_app.models import Approval, Status
from orchestrator_site.api.serializers import RowSerializer, SuccessSerializer, WholeNumberField
from orchestrator_site.core.times import rfc3339


class ApprovalListQuery(serializers.Serializer):
    """How many requests, and from where on."""

    limit = WholeNumberField(in_query=True, min_value=1, max_value=1000, default=100)
    cursor = serializers.CharField(
        max_length=100, required=False, help_text="The `next` of the last page."
    )


class DecisionInput(serializers.Serializer):
    """Why, and on what, from the query string or the body."""

    reason = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)
    digest = serializers.CharField(
        max_length=64,
        required=False,
        default="",
        allow_blank=True,
        help_text="The `digest` of the request that was looked at; "
        "if it is another one by now, the answer is 409.",
    )


class ApprovalSerializer(RowSerializer):
    """A request for sign-off and how it ended."""

    approved_by = serializers.SerializerMethodField(help_text="Who approved; null unless approved.")
    approved_at = serializers.SerializerMethodField(
        help_text="When it was approved; null unless approved."
    )
    rejected_by = serializers.SerializerMethodField(help_text="Who rejected; null unless rejected.")
    rejected_at = serializers.SerializerMethodField(
        help_text="When it was rejected; null unless rejected."
    )

    class Meta:
        model = Approval
        fields = [
            "approval_id",
            "task_id",
            "priority",
            "reason",
            "status",
            "policy",
            "decider_role",
            "digest",
            "requested_by",
            "trace_id",
            "created_at",
            "expires_at",
            "decided_by",
            "decided_at",
            "door",
            "decision_reason",
            "approved_by",
            "approved_at",
            "rejected_by",
            "rejected_at",
        ]

    def get_approved_by(self, approval: Approval) -> str | None:
        return approval.decided_by if approval.status == Status.APPROVED else None

    def get_approved_at(self, approval: Approval) -> str | None:
        approved_at = approval.decided_at if approval.status == Status.APPROVED else None
        return rfc3339(approved_at) if approved_at else None

    def get_rejected_by(self, approval: Approval) -> str | None:
        return approval.decided_by if approval.status == Status.REJECTED else None

    def get_rejected_at(self, approval: Approval) -> str | None:
        rejected_at = approval.decided_at if approval.status == Status.REJECTED else None
        return rfc3339(rejected_at) if rejected_at else None


class ApprovalAnswer(SuccessSerializer):
    """One approval."""

    approval = ApprovalSerializer()


class PendingAnswer(SuccessSerializer):
    """What waits for a decision, most urgent first; `count` is the number in the list.

    `next` goes back in as `cursor`; null on the last page.
    """

    count = serializers.IntegerField()
    approvals = ApprovalSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class HistoryAnswer(SuccessSerializer):
    """What was decided, newest first. `next` goes back in as `cursor`; null on the last page."""

    count = serializers.IntegerField()
    history = ApprovalSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class DecisionAnswer(SuccessSerializer):
    """The decision was taken."""

    approval_id = serializers.CharField()
    message = serializers.CharField()
    repeated = serializers.BooleanField(
        required=False,
        help_text="True if the same decider had said the same before; nothing was written anew.",
    )

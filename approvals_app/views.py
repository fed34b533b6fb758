"""The API door of approvals."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from approvals_app import queries, services
from approvals_app.serializers import (
    ApprovalAnswer,
    ApprovalListQuery,
    DecisionAnswer,
    DecisionInput,
    HistoryAnswer,
    PendingAnswer,
)
from orchestrator_site.actors import Role
from orchestrator_site.api.views import ApiViewSet


class ApprovalViewSet(ApiViewSet):
    """Requests for sign-off: read them, decide them."""

    roles = {
        "pending": Role.USER,
        "retrieve": Role.USER,
        "history": Role.USER,
        "approve": Role.AGENT,
        "reject": Role.AGENT,
    }
    rate_scopes = {
        "pending": "approvals_pending",
        "retrieve": "approval_read",
        "history": "approvals_history",
        "approve": "approval_approve",
        "reject": "approval_reject",
    }

    @extend_schema(parameters=[ApprovalListQuery], responses=PendingAnswer)
    def pending(self, request: Request) -> Response:
        """List what waits for a decision, most urgent first."""
        found, following = queries.pending(**self.asked(ApprovalListQuery), now=self.now)
        return Response(PendingAnswer({"count": len(found), "approvals": found, "next": following}).data)

    @extend_schema(responses=ApprovalAnswer)
    def retrieve(self, request: Request, approval_id: str) -> Response:
        """Return one approval and how it ended."""
        return Response(ApprovalAnswer({"approval": services.get_approval(approval_id)}).data)

    @extend_schema(parameters=[ApprovalListQuery], responses=HistoryAnswer)
    def history(self, request: Request) -> Response:
        """List what was decided, newest first."""
        found, following = queries.history(**self.asked(ApprovalListQuery))
        return Response(HistoryAnswer({"count": len(found), "history": found, "next": following}).data)

    @extend_schema(parameters=[DecisionInput], request=DecisionInput, responses=DecisionAnswer)
    def approve(self, request: Request, approval_id: str) -> Response:
        """Approve a pending request. A decision is final; of several at once one wins, the others get 409."""
        asked = self.asked(DecisionInput)
        reason, shown = asked["reason"], asked["digest"]
        services.approve(approval_id=approval_id, by=self.actor, now=self.now, reason=reason, shown=shown)
        return self._decided(approval_id, "Approved")

    @extend_schema(parameters=[DecisionInput], request=DecisionInput, responses=DecisionAnswer)
    def reject(self, request: Request, approval_id: str) -> Response:
        """Reject a pending request; its task is cancelled with the reason."""
        asked = self.asked(DecisionInput)
        reason, shown = asked["reason"], asked["digest"]
        services.reject(approval_id=approval_id, by=self.actor, now=self.now, reason=reason, shown=shown)
        return self._decided(approval_id, "Rejected")

    def _decided(self, approval_id: str, word: str) -> Response:
        answer = {"approval_id": approval_id, "message": f"{word} by {self.actor.name}"}
        return Response(DecisionAnswer(answer).data)

"""The API door of approvals."""

from typing import NoReturn

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from approvals_app import queries, services
from approvals_app.models import Approval, Status
from approvals_app.serializers import (
    ApprovalAnswer,
    ApprovalListQuery,
    DecisionAnswer,
    DecisionInput,
    HistoryAnswer,
    PendingAnswer,
)
from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.core.actors import Role

VERDICTS = {"approve": Status.APPROVED, "reject": Status.REJECTED}


class ApprovalViewSet(ApiViewSet):
    """Requests for sign-off: read them, decide them."""

    roles = {
        "pending": Role.USER,
        "retrieve": Role.USER,
        "history": Role.USER,
        "approve": Role.AGENT,
        "reject": Role.AGENT,
    }
    examples = {"approve": {"reason": "Looked at it."}, "reject": {"reason": "Not before Monday."}}
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
        return Response(
            PendingAnswer({"count": len(found), "approvals": found, "next": following}).data
        )

    @extend_schema(responses=ApprovalAnswer)
    def retrieve(self, request: Request, approval_id: str) -> Response:
        """Return one approval and how it ended."""
        return Response(ApprovalAnswer({"approval": services.get_approval(approval_id)}).data)

    @extend_schema(parameters=[ApprovalListQuery], responses=HistoryAnswer)
    def history(self, request: Request) -> Response:
        """List what was decided, newest first."""
        found, following = queries.history(**self.asked(ApprovalListQuery))
        return Response(
            HistoryAnswer({"count": len(found), "history": found, "next": following}).data
        )

    @extend_schema(parameters=[DecisionInput], request=DecisionInput, responses=DecisionAnswer)
    def approve(self, request: Request, approval_id: str) -> Response:
        """Approve a pending request.

        A decision is final; of several at once one wins, the others get 409. Saying the same again
        is a 200 with `repeated`: true.
        """
        asked = self.asked(DecisionInput)
        reason, shown = asked["reason"], asked["digest"]
        approval = services.approve(
            approval_id=approval_id, by=self.actor, now=self.now, reason=reason, shown=shown
        )
        return self._decided(approval, "Approved")

    @extend_schema(parameters=[DecisionInput], request=DecisionInput, responses=DecisionAnswer)
    def reject(self, request: Request, approval_id: str) -> Response:
        """Reject a pending request; its task is cancelled with the reason."""
        asked = self.asked(DecisionInput)
        reason, shown = asked["reason"], asked["digest"]
        approval = services.reject(
            approval_id=approval_id, by=self.actor, now=self.now, reason=reason, shown=shown
        )
        return self._decided(approval, "Rejected")

    def _decided(self, approval: Approval, word: str) -> Response:
        message = f"{word} by {approval.decided_by}"
        answer = {"approval_id": approval.approval_id, "message": message}
        return Response(
            DecisionAnswer(answer | ({"repeated": True} if approval.repeated else {})).data
        )

    def permission_denied(
        self, request: Request, message: str | None = None, code: str | None = None
    ) -> NoReturn:
        """Refuse; who is known and wanted to decide is written down."""
        if self.action in VERDICTS and request.user is not None:
            services.refuse_role(
                approval_id=self.kwargs["approval_id"],
                verdict=VERDICTS[self.action],
                by=self.actor,
                now=self.now,
                reason=message or "",
            )
        super().permission_denied(request, message, code)

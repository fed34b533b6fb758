"""The API door of approvals."""

from collections.abc import Callable
from typing import NoReturn

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from approvals_app import queries
from approvals_app.models import Approval, Status
from approvals_app.serializers import (
    ApprovalAnswer,
    ApprovalListQuery,
    DecisionAnswer,
    DecisionInput,
    HistoryAnswer,
    PendingAnswer,
)
from approvals_app.services import decisions
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
        answer = {"count": len(found), "approvals": found, "next": following}
        return Response(PendingAnswer.of(answer))

    @extend_schema(responses=ApprovalAnswer)
    async def retrieve(self, request: Request, approval_id: str) -> Response:
        """Return one approval and how it ended."""
        approval = await self.read(queries.find_all, approval_id)
        return Response(ApprovalAnswer.of({"approval": approval}))

    @extend_schema(parameters=[ApprovalListQuery], responses=HistoryAnswer)
    def history(self, request: Request) -> Response:
        """List what was decided, newest first."""
        found, following = queries.history(**self.asked(ApprovalListQuery))
        answer = {"count": len(found), "history": found, "next": following}
        return Response(HistoryAnswer.of(answer))

    @extend_schema(parameters=[DecisionInput], request=DecisionInput, responses=DecisionAnswer)
    def approve(self, request: Request, approval_id: str) -> Response:
        """Approve a pending request.

        A decision is final; of several at once one wins, the others get 409. Saying the same again
        is a 200 with `repeated`: true.
        """
        return self._decide(decisions.approve, approval_id, "Approved")

    @extend_schema(parameters=[DecisionInput], request=DecisionInput, responses=DecisionAnswer)
    def reject(self, request: Request, approval_id: str) -> Response:
        """Reject a pending request; its task is cancelled with the reason."""
        return self._decide(decisions.reject, approval_id, "Rejected")

    def _decide(self, service: Callable[..., Approval], approval_id: str, word: str) -> Response:
        asked = self.asked(DecisionInput)
        params = {"reason": asked["reason"], "shown": asked["digest"]}
        approval = service(approval_id=approval_id, by=self.actor, now=self.now, **params)
        answer = {"approval_id": approval_id, "message": f"{word} by {approval.decided_by}"}
        repeated = {"repeated": True} if approval.repeated else {}
        return Response(DecisionAnswer.of(answer | repeated))

    def permission_denied(
        self, request: Request, message: str | None = None, code: str | None = None
    ) -> NoReturn:
        """Refuse; who is known and wanted to decide is written down."""
        if self.action in VERDICTS and request.user is not None:
            decisions.refuse_role(
                approval_id=self.kwargs["approval_id"],
                verdict=VERDICTS[self.action],
                by=self.actor,
                now=self.now,
                reason=message or "",
            )
        super().permission_denied(request, message, code)

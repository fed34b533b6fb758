"""The API door of approvals."""

from typing import Any, NoReturn

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from approvals_app import queries
from approvals_app.models import Status
from approvals_app.serializers import (
    ApprovalAnswer,
    ApprovalListQuery,
    DecisionAnswer,
    DecisionInput,
    HistoryAnswer,
    PendingAnswer,
)
from approvals_app.services.decisions import Decision, decide_all, refuse_role
from orchestrator_site.api.negotiation import JSONRenderer
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
    async def pending(self, request: Request) -> Response:
        """List what waits for a decision, most urgent first."""
        params = self.asked(ApprovalListQuery) | {"now": self.now}
        return Response(await self.executor.call(lambda: pending_page(params)))

    @extend_schema(responses=ApprovalAnswer)
    async def retrieve(self, request: Request, approval_id: str) -> Response:
        """Return one approval and how it ended."""
        approval = await self.read(queries.find_all, approval_id)
        return Response(ApprovalAnswer.of({"approval": approval}))

    @extend_schema(parameters=[ApprovalListQuery], responses=HistoryAnswer)
    async def history(self, request: Request) -> Response:
        """List what was decided, newest first."""
        params = self.asked(ApprovalListQuery)
        return Response(await self.executor.call(lambda: history_page(params)))

    @extend_schema(parameters=[DecisionInput], request=DecisionInput, responses=DecisionAnswer)
    async def approve(self, request: Request, approval_id: str) -> Response:
        """Approve a pending request.

        A decision is final; of several at once one wins, the others get 409. Saying the same again
        is a 200 with `repeated`: true.
        """
        return await self._decide(approval_id)

    @extend_schema(parameters=[DecisionInput], request=DecisionInput, responses=DecisionAnswer)
    async def reject(self, request: Request, approval_id: str) -> Response:
        """Reject a pending request; its task is cancelled with the reason."""
        return await self._decide(approval_id)

    async def _decide(self, approval_id: str) -> Response:
        asked = self.asked(DecisionInput)
        approval = await self.write(
            decide_all, self._decision(approval_id, asked["reason"], asked["digest"])
        )
        message = f"{approval.status.capitalize()} by {approval.decided_by}"
        answer = {"approval_id": approval_id, "message": message}
        repeated = {"repeated": True} if approval.repeated else {}
        return Response(DecisionAnswer.of(answer | repeated))

    def _decision(self, approval_id: str, reason: str = "", shown: str = "") -> Decision:
        verdict = VERDICTS[self.action or ""]
        return Decision(approval_id, verdict, self.actor, self.now, reason, shown)

    def permission_denied(
        self, request: Request, message: str | None = None, code: str | None = None
    ) -> NoReturn:
        """Refuse; who is known and wanted to decide is written down."""
        if self.action in VERDICTS and request.user is not None:
            refuse_role(self._decision(self.kwargs["approval_id"]), message or "")
        super().permission_denied(request, message, code)


def pending_page(params: dict[str, Any]) -> bytes:
    """Return a page of what waits, written: a large one is nothing for the event loop."""
    found, following = queries.pending(**params)
    answer = {"count": len(found), "approvals": found, "next": following}
    return JSONRenderer().render(PendingAnswer.of(answer))


def history_page(params: dict[str, Any]) -> bytes:
    """Return a page of what was decided, written."""
    found, following = queries.history(**params)
    answer = {"count": len(found), "history": found, "next": following}
    return JSONRenderer().render(HistoryAnswer.of(answer))

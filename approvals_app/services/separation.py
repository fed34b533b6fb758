"""Who may decide which requests: the rules, asked with what the database knows."""

from collections.abc import Sequence

from django.conf import settings

from approvals_app import hooks, rules
from approvals_app.errors import MayNotDecide
from approvals_app.models import Approval
from orchestrator_site.auth.accounts import may_decide as account_may_decide
from orchestrator_site.auth.api_keys import persons_behind
from orchestrator_site.core.actors import Actor


def refusals(attempts: Sequence[tuple[Approval, Actor]]) -> dict[str, str]:
    """Return why requests, each another, may not be decided by these: {approval_id: sentence}.

    The number of queries does not depend on the number of requests.
    """
    mode = settings.ORCHESTRATOR_APPROVAL_MODE
    involved = parties_of([approval for approval, _ in attempts]) if mode != "guide" else {}
    makers = {by.made_by for _, by in attempts} - {""} if mode != "guide" else set()
    unfit = {maker for maker in makers if not account_may_decide(maker)}
    found = {}
    for approval, by in attempts:
        try:
            rules.ensure_may_decide(
                approval,
                by,
                mode=mode,
                involved=involved.get(approval.approval_id, frozenset()),
                maker_may_decide=by.made_by not in unfit,
            )
        except MayNotDecide as refusal:
            found[approval.approval_id] = str(refusal)
    return found


def parties_of(approvals: Sequence[Approval]) -> dict[str, frozenset[str]]:
    """Return who has a part in each request's task, and who is behind them, by approval id."""
    if not approvals:
        return {}
    task_ids = [approval.task_id for approval in approvals]
    parties = [names_of(task_ids) for names_of in hooks.parties]
    groups = [
        {hooks.Party(approval.requested_by, approval.requester_credential)}.union(
            *(some.get(approval.task_id, ()) for some in parties)
        )
        for approval in approvals
    ]
    names = [approval.approval_id for approval in approvals]
    return dict(zip(names, persons_behind(groups), strict=True))

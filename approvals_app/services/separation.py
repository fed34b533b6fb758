"""Who may decide which requests: the rules, asked with what the database knows."""

from django.conf import settings

from approvals_app import hooks, rules
from approvals_app.errors import MayNotDecide
from approvals_app.models import Approval
from orchestrator_site.auth.accounts import may_decide as account_may_decide
from orchestrator_site.auth.api_keys import persons_behind
from orchestrator_site.core.actors import Actor


def ensure_may_decide(approval: Approval, by: Actor) -> None:
    """Raise MayNotDecide unless this actor may decide this request in the mode of the settings."""
    if sentence := refusals([approval], by).get(approval.approval_id):
        raise MayNotDecide(sentence)


def refusals(approvals: list[Approval], by: Actor) -> dict[str, str]:
    """Return why this actor may not decide which of these requests: {approval_id: sentence}.

    The number of queries does not depend on the number of requests.
    """
    mode = settings.ORCHESTRATOR_APPROVAL_MODE
    fit = mode == "guide" or not by.made_by or account_may_decide(by.made_by)
    found = {}
    for approval, involved in zip(approvals, parties_of(approvals, mode), strict=True):
        try:
            rules.ensure_may_decide(
                approval, by, mode=mode, involved=involved, maker_may_decide=fit
            )
        except MayNotDecide as refusal:
            found[approval.approval_id] = str(refusal)
    return found


def parties_of(approvals: list[Approval], mode: str) -> list[frozenset[str]]:
    """Return who has a part in each request's task; outside `guide` with the people behind."""
    task_ids = [approval.task_id for approval in approvals]
    parties = [names_of(task_ids) for names_of in hooks.parties] if task_ids else []
    groups = [
        {hooks.Party(approval.requested_by, approval.requester_credential)}.union(
            *(some.get(approval.task_id, ()) for some in parties)
        )
        for approval in approvals
    ]
    if mode == "guide" or not approvals:
        return [frozenset(party.name for party in group) for group in groups]
    return persons_behind(groups)

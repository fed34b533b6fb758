from approvals_app.management.decision import DecisionCommand
from approvals_app.models import Status


class Command(DecisionCommand):
    help = (
        "Reject a pending request, in the name of a console account. "
        "Its task is cancelled with the reason."
    )
    verdict = Status.REJECTED

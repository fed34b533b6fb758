from approvals_app.management.decision import DecisionCommand
from approvals_app.models import Status


class Command(DecisionCommand):
    help = "Approve a pending request, in the name of a console account. A decision is final."
    verdict = Status.APPROVED

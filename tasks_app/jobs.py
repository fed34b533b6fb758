"""What Celery runs for tasks."""

from celery import shared_task

from orchestrator_site.core import times
from orchestrator_site.core.pacing import Pace
from tasks_app.services import agents as agent_services
from tasks_app.services import bulk, dependencies, leases, routing, sla


@shared_task
def route_pending() -> None:
    """Beat, and when rules or agents change: give waiting tasks an agent that can take them.

    Where there are more than one sweep moves, it is sent for again at once.
    """
    if routing.route_pending(now=times.now(), limit=routing.MOST) == routing.MOST:
        route_pending.delay()


@shared_task
def check_slas() -> None:
    """Beat: warn of deadlines that come near, record those that were missed."""
    sla.check_slas(now=times.now())


@shared_task
def requeue_lost_leases() -> None:
    """Beat: take back tasks whose holders have vanished."""
    leases.requeue_lost_leases(now=times.now())


@shared_task
def notice_silence() -> None:
    """Beat: say which agents have fallen silent, and move their waiting tasks on."""
    if agent_services.mark_stale_agents(now=times.now()):
        route_pending()


@shared_task
def settle_dependents() -> None:
    """Beat, and when a task with many dependents ends: free or fail those that are left."""
    dependencies.settle_waiting(clock=times.now, between=Pace())


@shared_task
def continue_bulk_operations() -> None:
    """Beat, and when an operator chose many tasks: requeue or cancel those that are left."""
    bulk.continue_all(clock=times.now, between=Pace())

"""Where tasks, agents and counts answer."""

from django.urls import path

from tasks_app.api.agents import AgentViewSet
from tasks_app.api.batches import BatchViewSet
from tasks_app.api.claims import ClaimViewSet
from tasks_app.api.operations import OperationViewSet
from tasks_app.api.tasks import StatsViewSet, TaskViewSet

urlpatterns = [
    path("tasks", TaskViewSet.as_view({"post": "create", "get": "list"})),
    path("tasks/claim", ClaimViewSet.as_view({"post": "claim"})),
    path("tasks/batch", BatchViewSet.as_view({"post": "batch"})),
    path("tasks/dead-letters", OperationViewSet.as_view({"get": "dead_letters"})),
    path("tasks/dead-letters/requeue", OperationViewSet.as_view({"post": "requeue_many"})),
    path("tasks/<public_id:task_id>", TaskViewSet.as_view({"get": "retrieve"})),
    path("tasks/<public_id:task_id>/status", TaskViewSet.as_view({"patch": "report"})),
    path("tasks/<public_id:task_id>/heartbeat", ClaimViewSet.as_view({"post": "heartbeat"})),
    path("tasks/<public_id:task_id>/release", ClaimViewSet.as_view({"post": "release"})),
    path("tasks/<public_id:task_id>/cancel", OperationViewSet.as_view({"post": "cancel"})),
    path("tasks/<public_id:task_id>/reassign", OperationViewSet.as_view({"post": "reassign"})),
    path("tasks/<public_id:task_id>/requeue", OperationViewSet.as_view({"post": "requeue"})),
    path("tasks/<public_id:task_id>/timeline", OperationViewSet.as_view({"get": "timeline"})),
    path("agents", AgentViewSet.as_view({"get": "list"})),
    path("agents/<public_id:name>", AgentViewSet.as_view({"patch": "change"})),
    path("task-types/<public_id:task_type>", AgentViewSet.as_view({"patch": "change_type"})),
    path("stats", StatsViewSet.as_view({"get": "stats"})),
]

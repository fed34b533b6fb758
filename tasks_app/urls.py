"""Where tasks, agents and counts answer."""

from django.urls import path

from tasks_app.api.agents import AgentViewSet
from tasks_app.api.tasks import StatsViewSet, TaskViewSet
from tasks_app.api.work import WorkViewSet

urlpatterns = [
    path("tasks", TaskViewSet.as_view({"post": "create", "get": "list"})),
    path("tasks/claim", WorkViewSet.as_view({"post": "claim"})),
    path("tasks/batch", WorkViewSet.as_view({"post": "batch"})),
    path("tasks/dead-letters", WorkViewSet.as_view({"get": "dead_letters"})),
    path("tasks/dead-letters/requeue", WorkViewSet.as_view({"post": "requeue_many"})),
    path("tasks/<public_id:task_id>", TaskViewSet.as_view({"get": "retrieve"})),
    path("tasks/<public_id:task_id>/status", TaskViewSet.as_view({"patch": "report"})),
    path("tasks/<public_id:task_id>/heartbeat", WorkViewSet.as_view({"post": "heartbeat"})),
    path("tasks/<public_id:task_id>/release", WorkViewSet.as_view({"post": "release"})),
    path("tasks/<public_id:task_id>/cancel", WorkViewSet.as_view({"post": "cancel"})),
    path("tasks/<public_id:task_id>/reassign", WorkViewSet.as_view({"post": "reassign"})),
    path("tasks/<public_id:task_id>/requeue", WorkViewSet.as_view({"post": "requeue"})),
    path("tasks/<public_id:task_id>/timeline", WorkViewSet.as_view({"get": "timeline"})),
    path("agents", AgentViewSet.as_view({"get": "list"})),
    path("agents/<public_id:name>", AgentViewSet.as_view({"patch": "change"})),
    path("task-types/<public_id:task_type>", AgentViewSet.as_view({"patch": "change_type"})),
    path("stats", StatsViewSet.as_view({"get": "stats"})),
]

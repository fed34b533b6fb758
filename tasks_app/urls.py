"""Where tasks answer."""

from django.urls import path

from tasks_app.views import StatsViewSet, TaskViewSet

urlpatterns = [
    path("tasks", TaskViewSet.as_view({"post": "create", "get": "list"})),
    path("tasks/<public_id:task_id>", TaskViewSet.as_view({"get": "retrieve"})),
    path("tasks/<public_id:task_id>/status", TaskViewSet.as_view({"patch": "report"})),
    path("stats", StatsViewSet.as_view({"get": "stats"})),
]

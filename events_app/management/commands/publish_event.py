from typing import Any

from django.core.management.base import CommandError
from rest_framework.exceptions import APIException, ValidationError

from events_app import services
from events_app.serializers import PublishSerializer
from orchestrator_site.api.exceptions import validation_answer
from orchestrator_site.api.parsers import read_object
from orchestrator_site.core import times
from orchestrator_site.core.priorities import Priority
from orchestrator_site.management.base import OPERATOR, ServiceCommand


class Command(ServiceCommand):
    help = "Publish an event for agents to hear, as POST /events/publish does. It changes no state."
    message = "{event_id} {event_type} published"
    arguments = {
        "event_type": {"help": "What happened, such as deployment.completed."},
        "--source-agent": {"required": True, "help": "Who says so, such as ops_agent."},
        "--payload": {
            "default": "{}",
            "help": 'The facts, a JSON object such as \'{"service": "web"}\'.',
        },
        "--task-id": {"default": "", "help": "The task it is about."},
        "--trace-id": {"default": "", "help": "The trace it belongs to."},
        "--priority": {"choices": Priority.values, "help": "How urgent."},
    }

    def perform(self, **options: Any) -> dict[str, Any]:
        names = ("event_type", "source_agent", "task_id", "trace_id", "priority")
        try:
            payload = read_object(options["payload"].encode(errors="surrogateescape"))
        except APIException as error:
            raise CommandError(f"--payload: {error.detail}") from None
        fields = {name: options[name] for name in names} | {"payload": payload}
        form = PublishSerializer(data=fields)
        try:
            form.is_valid(raise_exception=True)
        except ValidationError as error:
            raise CommandError(validation_answer(error)["detail"]) from None
        event = services.publish(**form.validated_data, by=OPERATOR, now=times.now())
        return {"event_id": event.event_id, "event_type": event.event_type}

"""ASGI entry point: Django, and in front of it what keeps streams and long polls open."""

from orchestrator_site.wsgi import application as wsgi

# isort: split
# They need the settings and the apps, which are there now.
from events_app.streams.broadcaster import Broadcaster
from orchestrator_site.infra.memory import give_back_freed_memory
from orchestrator_site.server.application import Application

give_back_freed_memory()
application = Application(wsgi, streams=Broadcaster)

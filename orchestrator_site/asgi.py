"""ASGI entry point: Django, and in front of it what keeps streams and long polls open."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
wsgi = get_wsgi_application()

from events_app.streams.broadcaster import Broadcaster  # noqa: E402
from orchestrator_site.config.checks import refuse_unsafe_start  # noqa: E402
from orchestrator_site.core import times  # noqa: E402 - they need the apps loaded
from orchestrator_site.infra.memory import give_back_freed_memory  # noqa: E402
from orchestrator_site.server.application import Application  # noqa: E402 - it needs the settings loaded

refuse_unsafe_start()
times.keeper.start()
give_back_freed_memory()
application = Application(wsgi, streams=Broadcaster)

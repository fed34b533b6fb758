"""ASGI entry point: Django, and in front of it what keeps streams and long polls open."""

import os

from django.core.wsgi import get_wsgi_application

from orchestrator_site.config.startup import one_sentence

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")

with one_sentence():
    wsgi = get_wsgi_application()

    # They need the settings and the apps.
    from events_app.streams.broadcaster import Broadcaster
    from orchestrator_site.config.checks import refuse_unsafe_start
    from orchestrator_site.core import times
    from orchestrator_site.infra.memory import give_back_freed_memory
    from orchestrator_site.server.application import Application

    refuse_unsafe_start()

times.keeper.start()
give_back_freed_memory()
application = Application(wsgi, streams=Broadcaster)

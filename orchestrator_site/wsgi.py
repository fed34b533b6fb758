"""WSGI entry point: everything but held connections (streams, long polls), which need `asgi.py`."""

import os

from django.core.wsgi import get_wsgi_application

from orchestrator_site.config.startup import one_sentence

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")

with one_sentence():
    application = get_wsgi_application()

    # They need the settings and the apps.
    from orchestrator_site.config.checks import refuse_unsafe_start
    from orchestrator_site.core import times

    refuse_unsafe_start()

times.keeper.start()

"""WSGI entry point: everything but held connections (streams, long polls), which need `asgi.py`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
application = get_wsgi_application()

from orchestrator_site.config.checks import refuse_unsafe_start  # noqa: E402
from orchestrator_site.core import times  # noqa: E402 - they need the apps loaded

refuse_unsafe_start()
times.keeper.start()

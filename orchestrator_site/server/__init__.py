"""The web server around Django: ASGI application, runner, embedded Celery."""

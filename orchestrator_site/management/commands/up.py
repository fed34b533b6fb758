"""`manage.py up`: the whole service, ready to use."""

import contextlib
import os
import secrets
import signal
import socket
from typing import IO, Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Q

from orchestrator_site.config import env
from orchestrator_site.infra import storage
from orchestrator_site.server import banner
from orchestrator_site.server.celery_threads import EmbeddedCelery
from orchestrator_site.server.runner import Server, listen


class Command(BaseCommand):
    help = (
        "Start the service. Without DATABASE_URL and REDIS_URL everything runs in this one process "
        "on SQLite: the web server, the worker and beat. With them only the web server starts, "
        "unless told otherwise."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", help="address to listen on (default: HOST, or 127.0.0.1)")
        parser.add_argument(
            "--port", type=int, help="port to listen on, 0 for a free one (default: PORT, or 8000)"
        )
        for option, meaning in (
            ("--migrate", "bring the tables up to date first, also with DATABASE_URL"),
            ("--with-worker", "run the Celery worker in this process, also with REDIS_URL"),
            ("--with-beat", "run Celery beat in this process, also with REDIS_URL"),
        ):
            parser.add_argument(option, action="store_true", help=meaning)

    def handle(self, **options: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        try:
            self.start(options)
        except KeyboardInterrupt:  # before the server took the signals over
            self.say("Stopped before it began.")

    def start(self, options: dict[str, Any]) -> None:
        listener = self.take_port(options)
        with contextlib.nullcontext() if settings.DATABASE_URL else self.take_folder():
            password = self.prepare(migrate=options["migrate"])
            self.serve(listener, password, options)

    def take_port(self, options: dict[str, Any]) -> socket.socket:
        """Return the listening socket; raise CommandError where the port is taken."""
        host, port = address(options)
        try:
            return listen(host, port)
        except OSError as error:
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else error.strerror
            sentence = f"Cannot listen on {host}:{port}: {reason}. Set PORT to use another."
            raise CommandError(sentence) from None

    def take_folder(self) -> IO[str]:
        """Return the lock on the embedded store, made safe from other accounts."""
        try:
            lock = storage.take_lock(settings.DATA_DIR)
            for path in storage.tighten(settings.DATA_DIR):
                self.say(
                    f"{path} could be read by other accounts of this machine; it no longer can."
                )
        except storage.InUse as other:
            who = f"{str(other).capitalize()} serves {settings.DATA_DIR} already."
            raise CommandError(f"{who} End it, or set DATA_DIR.") from None
        except OSError as error:
            raise CommandError(str(env.unusable(settings.DATA_DIR, error))) from None
        if fault := storage.fault_of_disk():
            raise CommandError(fault)
        return lock

    def prepare(self, *, migrate: bool) -> str:
        """Bring the tables up to date where that is ours to do; return a first password or ""."""
        if settings.DATABASE_URL and not migrate:
            self.warn_of_missing_tables()
        elif due := migrations_due():
            self.say(f"Preparing the database ({due} migrations) …")
            call_command("migrate", verbosity=0, interactive=False)
        return "" if settings.DATABASE_URL else first_login()

    def warn_of_missing_tables(self) -> None:
        """Say what is missing, and serve all the same: an unreachable database may come back."""
        try:
            due = migrations_due()
        except DatabaseError as error:
            self.stderr.write(f"The database does not answer yet: {str(error).splitlines()[0]}")
        else:
            if due:
                self.stderr.write(
                    f"{due} migrations are due. Run `manage.py migrate`, or start with --migrate."
                )

    def serve(self, listener: socket.socket, password: str, options: dict[str, Any]) -> None:
        """Serve until a signal; end the jobs with the server."""
        from orchestrator_site.asgi import application  # which builds the whole application

        here = not settings.REDIS_URL  # messages in memory reach only this process
        jobs = EmbeddedCelery(
            worker=here or options["with_worker"], beat=here or options["with_beat"]
        )

        def say_ready() -> None:
            self.say(banner.text(listener, password, jobs.names))

        server = Server(application, on_ready=say_ready, on_end=jobs.stop)
        jobs.start(on_death=server.end)
        server.run(sockets=[listener])
        jobs.join()
        self.say("Stopped.")
        if jobs.dead:
            raise CommandError(f"The {jobs.dead} ended by itself: see the log above.")

    def say(self, text: str) -> None:
        """Print at once, also into a pipe."""
        self.stdout.write(text)
        self.stdout.flush()


def address(options: dict[str, Any]) -> tuple[str, int]:
    """Return the host and port to listen on: options, else environment, else default."""
    try:
        host = options["host"] or env.text("HOST", "127.0.0.1")
        port = env.integer("PORT", 8000) if options["port"] is None else options["port"]
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    if not 0 <= port <= 65_535:
        raise CommandError(f"{port} is not a port: ports go from 0, for a free one, to 65535.")
    return host, port


def migrations_due() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def first_login() -> str:
    """Make the account `admin` where nobody could log in; return its password, or ""."""
    accounts = get_user_model().objects
    if accounts.filter(Q(is_superuser=True) | Q(username="admin")).exists():
        return ""
    password = secrets.token_urlsafe(12)
    accounts.create_superuser("admin", password=password)
    return password

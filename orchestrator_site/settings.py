"""All settings, read from the environment. `.env.example` says what each variable means."""

import warnings
from pathlib import Path

import platformdirs

from orchestrator_site import __version__
from orchestrator_site.config import env
from orchestrator_site.console.theme import UNFOLD as UNFOLD

VERSION = __version__
PACKAGE_DIR = Path(__file__).resolve().parent
# None where it is installed.
CHECKOUT = PACKAGE_DIR.parent if (PACKAGE_DIR.parent / "manage.py").is_file() else None
OWN_FOLDER = (
    CHECKOUT / "data" if CHECKOUT else platformdirs.user_data_path("orchestrator", appauthor=False)
)
DATA_DIR = Path(env.text("DATA_DIR", str(OWN_FOLDER)))

# --- Where we run -----------------------------------------------------------------------------
DATABASE_URL = env.secret("DATABASE_URL")
REDIS_URL = env.secret("REDIS_URL")
ORCHESTRATOR_ENV = env.text(
    "ORCHESTRATOR_ENV",
    "production" if DATABASE_URL else "development",
    choices=("development", "production"),
)
DEVELOPMENT = ORCHESTRATOR_ENV == "development"
DEBUG = env.flag("DEBUG")
KEPT_SECRETS = DATA_DIR if DEVELOPMENT else None
SECRET_KEY = env.secret("DJANGO_SECRET_KEY", kept_in=KEPT_SECRETS) or "missing"  # which is refused
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]" if DEVELOPMENT else "")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")

# --- Who is calling ---------------------------------------------------------------------------
ORCHESTRATOR_JWT_SECRET = env.secret("ORCHESTRATOR_JWT_SECRET", kept_in=KEPT_SECRETS)
ORCHESTRATOR_JWT_SECRET_PREVIOUS = env.secret("ORCHESTRATOR_JWT_SECRET_PREVIOUS")
ORCHESTRATOR_TRUSTED_PROXIES = env.words("ORCHESTRATOR_TRUSTED_PROXIES")
ORCHESTRATOR_APPROVAL_MODE = env.text(
    "ORCHESTRATOR_APPROVAL_MODE",
    "guide" if DEVELOPMENT else "four-eyes",
    choices=("guide", "four-eyes", "strict", "human"),
)

# --- Limits -----------------------------------------------------------------------------------
RATE_LIMIT_SCALE = env.number("ORCHESTRATOR_RATE_LIMIT_SCALE", 1)
RATE_LIMITS = {  # requests a minute: the guide's table in its order, then what it leaves open
    scope: env.integer(f"ORCHESTRATOR_RATE_LIMIT_{scope.upper()}", rate, least=1)
    for scope, rate in {
        "tasks": 10,
        "task_read": 30,
        "task_status": 10,
        "events_publish": 20,
        "approvals_pending": 5,
        "approval_read": 5,
        "approvals_history": 5,
        "approval_approve": 5,
        "approval_reject": 5,
        "stats": 30,
        "tasks_batch": 600,  # tasks, not requests
        "events_batch": 600,  # events, not requests
        "claim": 600,
        "heartbeat": 600,
        "events_read": 600,
        "health": 300,
        "auth_token": 10,
        "login": 10,
        "other": 60,
    }.items()
}
# Of one requester.
MAX_PENDING_APPROVALS = env.integer("ORCHESTRATOR_MAX_PENDING_APPROVALS", 100, least=1)
EVENTS_KEPT_DAYS = env.integer("ORCHESTRATOR_EVENTS_KEPT_DAYS", 0)  # 0: for ever
# In each process.
MAX_STREAMS_PER_PRINCIPAL = env.integer("ORCHESTRATOR_MAX_STREAMS_PER_PRINCIPAL", 20, least=1)
STREAM_CHECK_SECONDS = env.integer("ORCHESTRATOR_STREAM_CHECK_SECONDS", 15, least=1)
MAX_BODY_BYTES = env.integer("ORCHESTRATOR_MAX_BODY_BYTES", 1_048_576, least=1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = max(MAX_BODY_BYTES, 2_621_440)  # the parser has the limit itself
WEBHOOK_ALLOW_NETS = env.networks("ORCHESTRATOR_WEBHOOK_ALLOW_NETS")  # else public addresses only
WEBHOOK_RETRY_SECONDS = env.integers(  # the waits after each failed attempt, as Standard Webhooks
    "ORCHESTRATOR_WEBHOOK_RETRY_SECONDS", "5,300,1800,7200,18000,36000,50400,72000,86400"
)
WEBHOOK_TIMEOUT_SECONDS = env.number("ORCHESTRATOR_WEBHOOK_TIMEOUT_SECONDS", 10)
WEBHOOK_MAX_SUBSCRIPTIONS = env.integer("ORCHESTRATOR_WEBHOOK_MAX_SUBSCRIPTIONS", 100, least=1)

# --- The parts --------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold",
    "orchestrator_site",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "events_app",
    "approvals_app",
    "tasks_app",
]
AUTHENTICATION_BACKENDS = ["orchestrator_site.auth.accounts.AccountBackend"]
MIDDLEWARE = [
    "orchestrator_site.api.middleware.ApiMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "orchestrator_site.api.middleware.HostMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "orchestrator_site.urls"
WSGI_APPLICATION = "orchestrator_site.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [CHECKOUT / "templates" if CHECKOUT else PACKAGE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Stores -----------------------------------------------------------------------------------
PREPARED_STATEMENTS = env.flag("ORCHESTRATOR_PREPARED_STATEMENTS", True)
DATABASES = {"default": env.database(DATABASE_URL, data_dir=DATA_DIR, prepared=PREPARED_STATEMENTS)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOCAL_CACHE = {
    "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
    "OPTIONS": {"MAX_ENTRIES": 100_000},  # the default of 300 would throw notes away
}
REDIS_CACHE = {
    "BACKEND": "orchestrator_site.infra.redis_cache.ResilientRedisCache",
    "LOCATION": REDIS_URL,
    "OPTIONS": {"socket_connect_timeout": 0.2, "socket_timeout": 0.2},
}
CACHES = {"default": REDIS_CACHE if REDIS_URL else LOCAL_CACHE}

# --- Jobs -------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL or "memory://localhost"  # without a host kombu warns
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {
        "visibility_timeout": 300,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": 1,
        "socket_timeout": 5,
    }
    if REDIS_URL
    else {"polling_interval": 0.05}
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_PUBLISH_RETRY = False  # a message is only a wake-up: a sweep finds what was not sent
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # in memory: what is due is in the database
SWEEP_SECONDS = env.integer("ORCHESTRATOR_SWEEP_SECONDS", 10, least=1)
CELERY_BEAT_SCHEDULE = {
    name: {"task": task, "schedule": float(SWEEP_SECONDS), "options": {"expires": SWEEP_SECONDS}}
    for name, task in {
        "route-pending": "tasks_app.jobs.route_pending",
        "check-slas": "tasks_app.jobs.check_slas",
        "requeue-lost-leases": "tasks_app.jobs.requeue_lost_leases",
        "notice-silence": "tasks_app.jobs.notice_silence",
        "settle-dependents": "tasks_app.jobs.settle_dependents",
        "continue-bulk-operations": "tasks_app.jobs.continue_bulk_operations",
        "expire-approvals": "approvals_app.jobs.expire_approvals",
    }.items()
} | {
    "deliver-webhooks": {  # a retry is due after 5 s; what is new is sent at once, by a message
        "task": "events_app.jobs.deliver_webhooks",
        "schedule": float(min(5, SWEEP_SECONDS)),
        "options": {"expires": 5},
    },
    "forget-deliveries": {"task": "events_app.jobs.forget_deliveries", "schedule": 3600.0},
    "prune-events": {"task": "events_app.jobs.prune_events", "schedule": 3600.0},
    "prune-answers": {"task": "orchestrator_site.jobs.prune_answers", "schedule": 3600.0},
}

# --- The API ----------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "orchestrator_site.auth.authentication.CredentialAuthentication"
    ],
    "DEFAULT_PERMISSION_CLASSES": ["orchestrator_site.auth.permissions.HasRole"],
    "DEFAULT_PARSER_CLASSES": [
        "orchestrator_site.api.parsers.StrictJSONParser",
        "orchestrator_site.api.parsers.EmptyFormParser",
    ],
    "DEFAULT_RENDERER_CLASSES": ["orchestrator_site.api.negotiation.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "orchestrator_site.api.negotiation.JSONOnly",
    "DEFAULT_SCHEMA_CLASS": "orchestrator_site.api.schema.ApiSchema",
    "EXCEPTION_HANDLER": "orchestrator_site.api.exceptions.handle",
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": None,
    "DATETIME_FORMAT": "iso-8601",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Orchestrator API",
    "DESCRIPTION": "Hand in work, get it to the right agent, have people sign, and hear what "
    "happened.\n\nPeople look and sign in the [console](/admin/). The same as a reference to read: "
    "[ReDoc](/redoc).",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {
        "validatorUrl": None,
        "persistAuthorization": True,  # in this browser only, until it is logged out there
        "filter": True,
        "tryItOutEnabled": True,
    },
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "RoleEnum": "orchestrator_site.models.ROLES",
        "PriorityEnum": "orchestrator_site.core.priorities.Priority",
    },
}

# --- Pages ------------------------------------------------------------------------------------
LANGUAGE_CODE = "en-gb"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATIC_ROOT = CHECKOUT / "build" / "static" if CHECKOUT else DATA_DIR / "static"
WHITENOISE_USE_FINDERS = DEVELOPMENT
# WhiteNoise: collecting is for deployments.
warnings.filterwarnings("ignore", "No directory at", UserWarning)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEVELOPMENT
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
LOGIN_REDIRECT_URL = "/admin/"
LOGIN_URL = "/admin/login/"

# --- Safety -----------------------------------------------------------------------------------
INSECURE_HTTP = env.flag("ORCHESTRATOR_ALLOW_HTTP", DEVELOPMENT)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not INSECURE_HTTP
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
# TLS and HSTS belong to the proxy: DEPLOYMENT.md.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "orchestrator_site.config.logging.LineFormatter"}},
    "handlers": {
        "stdout": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "line",
        }
    },
    "root": {"handlers": ["stdout"], "level": env.text("LOG_LEVEL", "INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},  # 4xx are answers, not faults
        "django.security": {"level": "CRITICAL"},  # so are bad hosts and other malformed requests
        "celery": {"level": "WARNING"},
        "kombu": {"level": "WARNING"},
    },
}

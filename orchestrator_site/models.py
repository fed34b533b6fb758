"""Who may knock, and what was answered."""

import uuid
from datetime import timedelta

from django.db import models

from orchestrator_site.core.actors import Role
from orchestrator_site.core.names import MAX_NAME

ANSWERS_KEPT = timedelta(hours=24)
ROLES = [(role.value, role.value) for role in Role]


class Principal(models.Model):
    """A restriction on whoever goes by a name; a name without a record has none."""

    name = models.CharField(
        max_length=MAX_NAME, unique=True, help_text="A token's `sub`, or the name of an API key."
    )
    disabled = models.BooleanField(default=False, help_text="Refuse every credential of this name.")
    role = models.CharField(
        "highest role",
        max_length=8,
        choices=ROLES,
        null=True,
        blank=True,
        help_text="A lower role than this counts.",
    )
    note = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name = "restricted principal"

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """A personal key; its text is `ork_<prefix>_<secret>`, of which only a hash is kept."""

    prefix = models.CharField(max_length=16, unique=True)
    secret_hash = models.CharField(max_length=64, editable=False)
    name = models.CharField("owner", max_length=MAX_NAME, db_index=True)
    role = models.CharField(max_length=8, choices=ROLES)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=MAX_NAME)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    rate_limits = models.JSONField(
        default=dict, blank=True, help_text="Requests a minute by scope, such as tasks: 50."
    )

    class Meta:
        ordering = ["name", "-created_at"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} (ork_{self.prefix}_…)"


class IdempotencyKey(models.Model):
    """The answer that was given to a creating request, to be given again."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    principal = models.CharField(max_length=MAX_NAME)
    key = models.CharField(max_length=255)
    operation = models.CharField(max_length=300, help_text="Method and path.")
    body_hash = models.CharField(
        max_length=64, help_text="SHA-256 of operation and canonical body, hex."
    )
    response = models.TextField(blank=True, help_text="The answer as JSON text, its order kept.")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["principal", "key"], name="one_answer_per_key")
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.key}"

"""Django's TextChoices, told to the type checker: each member is its class's, and a text."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import enum

    class TextChoices(enum.StrEnum):
        """What Django's class is to a reader of types."""

        _value_: str
        label: str
        choices: list[tuple[str, str]]
        labels: list[str]
        values: list[str]

else:
    from django.db.models import TextChoices

__all__ = ["TextChoices"]

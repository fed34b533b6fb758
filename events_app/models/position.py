"""A place in the log, and the rows that remember one."""

from django.db import models

MARK = 8  # letters at the end of an event's id: 40 random bits


class Position(int):
    """A place in the log that also says which event stands there, if `event_id` is known.

    After a restore from an older copy another event stands there, and the place is of no use.
    """

    mark: str

    def __new__(cls, number: int, event_id: str = "") -> "Position":
        """Keep the end of the event's id as its mark."""
        position = super().__new__(cls, number)
        position.mark = event_id[-MARK:]
        return position


def mark_of(position: int) -> str:
    """Return the mark of a position, empty for a plain number."""
    return getattr(position, "mark", "")


class Bookmark(models.Model):
    """A reader whose `position` in the log is remembered."""

    mark = models.CharField(
        max_length=MARK,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="End of the id of the event at its position.",
    )

    class Meta:
        abstract = True

    @property
    def place(self) -> Position:
        """Return the position with its mark."""
        return Position(self.position, self.mark)

    @place.setter
    def place(self, position: int) -> None:
        self.position, self.mark = int(position), mark_of(position)

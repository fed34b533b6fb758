"""A place in the log, and the rows that remember one."""

from django.db import models

LETTERS = 8  # at the end of an event's id: 40 random bits


class Position(int):
    """A place in the log that also says which event stands there, if `event_id` is known.

    After a restore from an older copy another event stands there, and the place is of no use.
    """

    letters: str

    def __new__(cls, number: int, event_id: str = "") -> "Position":
        """Keep the last letters of the event's id; without one, those that `number` has."""
        position = super().__new__(cls, number)
        position.letters = event_id[-LETTERS:] or getattr(number, "letters", "")
        return position

    def is_of(self, event_id: str | None) -> bool:
        """Return whether this may be the event that stands here; None where none is kept."""
        return event_id is None or event_id.endswith(self.letters)

    @property
    def mark(self) -> str:
        """Return what rows keep beside the position: `12:1c3dn3jz`, empty without an event."""
        return f"{int(self)}:{self.letters}" if self.letters else ""


class Bookmark(models.Model):
    """A row that remembers a position in the log.

    The mark counts only for the position it names: another version may move a row without it.
    """

    mark = models.CharField(
        max_length=32,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Its position, and the end of the id of the event there.",
    )

    class Meta:
        abstract = True

    @property
    def place(self) -> Position:
        """Return the position and the event that stood there."""
        number, _, letters = self.mark.partition(":")
        return Position(self.position, letters if number == str(self.position) else "")

    @place.setter
    def place(self, position: int) -> None:
        self.position, self.mark = int(position), Position(position).mark

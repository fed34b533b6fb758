"""Actions on one row that ask in a dialog before anything is done."""

from typing import Any

from unfold.decorators import action
from unfold.forms import BaseDialogForm


def dialog_action(
    description: str,
    *,
    permission: str,
    title: str,
    lead: str,
    form: type[Any] = BaseDialogForm,
    submit: str = "",
    style: str = "button-primary",
) -> Any:
    """Declare an admin method as an action that gets the valid form of its dialog.

    permission: `name` asks the admin's `has_name_permission`; unfold would look up a dotted one in
    the database at each start. submit: the button's label, if not the description. style: a class
    of the stylesheet.
    """
    return action(
        description=description,
        permissions=[permission],
        dialog={
            "title": title,
            "description": lead,
            "form_class": form,
            "form_submit_text": submit or description,
            "style": style,
        },
    )

"""The rows of a list as HTML. Unfold's own tag renders the headers anew for each row."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString
from unfold.admin import checkbox
from unfold.templatetags.unfold_list import (
    CHECKBOX_CLASSES,
    LINK_CLASSES,
    ROW_CLASSES,
    result_headers,
)

Cell = Callable[[Any], SafeString]


def rows(cl: Any) -> dict[str, Any]:
    """Return what the template of a list's rows needs. cl: a ChangeList."""
    headers = list(result_headers(cl))
    cells = [
        cell_of(cl, column, header["text"])
        for column, header in zip(cl.list_display, headers, strict=True)
    ]
    lines = [SafeString("".join(cell(row) for cell in cells)) for row in cl.result_list]
    return {"cl": cl, "result_headers": headers, "rows": lines}


def cell_of(cl: Any, column: str, label: str) -> Cell:
    """Return what makes the cells of a column."""
    if column == "action_checkbox":
        return tick_box()
    show = getattr(cl.model_admin, column, None) or attrgetter(column)
    is_link = column in cl.list_display_links
    tag, classes = "th" if is_link else "td", " ".join([f"field-{column}", *ROW_CLASSES])
    way_back = {"preserved_filters": cl.preserved_filters, "opts": cl.opts}
    start = format_html('<{} class="{}" data-label="{}">', tag, classes, label)

    def cell(row: Any) -> SafeString:
        text = conditional_escape(show(row))
        if is_link:  # from the row's page the way back leads to this list
            url = add_preserved_filters(way_back, cl.url_for_result(row))
            text = format_html('<a href="{}" class="{}">{}</a>', url, " ".join(LINK_CLASSES), text)
        return format_html("{}{}</{}>", start, text, tag)

    return cell


def tick_box() -> Cell:
    """Return what makes the cells with the boxes to tick."""
    classes, box = " ".join(CHECKBOX_CLASSES), checkbox.render(ACTION_CHECKBOX_NAME, "row")
    cell = f'<td class="{classes}" data-label="Select record">{box}</td>'
    before, after = map(SafeString, cell.split('value="row"'))
    return lambda row: format_html('{}value="{}"{}', before, row.pk, after)

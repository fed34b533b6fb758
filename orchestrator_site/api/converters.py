"""Path converters: what cannot be an id is a 404 and never reaches the database."""

from django.urls import register_converter
from django.urls.converters import StringConverter


class PublicIdConverter(StringConverter):
    """`<public_id:task_id>`: letters, digits, `_` and `-`, at most 64."""

    regex = "[A-Za-z0-9_-]{1,64}"


register_converter(PublicIdConverter, "public_id")

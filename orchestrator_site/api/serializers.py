"""The envelope of every success."""

from typing import Any

from rest_framework import serializers


class SuccessSerializer(serializers.Serializer):
    """Adds `"success": true` (D2)."""

    success = serializers.SerializerMethodField(help_text="Always true; a refusal has another shape.")

    def get_success(self, answer: Any) -> bool:
        """Return true."""
        return True

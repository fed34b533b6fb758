"""Requests and answers of batches."""

from rest_framework import serializers

from orchestrator_site.api.serializers import (
    SuccessSerializer,
)
from tasks_app.api.serializers.tasks import NewTaskSerializer, TaskSerializer


class BatchItemSerializer(NewTaskSerializer):
    """A task of a batch. Others of the batch may name its `ref` in `depends_on`."""

    ref = serializers.CharField(max_length=64, required=False)


class BatchSerializer(serializers.Serializer):
    """A batch whose tasks are not checked yet: one by one in mode `each`."""

    tasks = serializers.ListField(child=serializers.DictField(), min_length=1, max_length=100)
    mode = serializers.ChoiceField(choices=["all", "each"], default="all")


class BatchRequest(BatchSerializer):
    """Up to 100 tasks, created all or none, or each that can be."""

    tasks = BatchItemSerializer(many=True)


class BatchResultSerializer(serializers.Serializer):
    """A task, or why there is none."""

    success = serializers.BooleanField()
    task_id = serializers.CharField(allow_null=True)
    task = TaskSerializer(allow_null=True)
    detail = serializers.CharField(allow_null=True)


class BatchAnswer(SuccessSerializer):
    """One result for each task, in the order given."""

    mode = serializers.CharField()
    created = serializers.IntegerField()
    results = BatchResultSerializer(many=True)

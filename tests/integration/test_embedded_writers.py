"""The embedded database: many threads write, each in its turn."""

import threading

import pytest
from django.db import connection, transaction

from events_app.models import Ledger


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_threads_that_write_at_once_wait_for_each_other_and_lose_nothing() -> None:
    barrier = threading.Barrier(8)

    def add() -> None:
        barrier.wait()
        for _ in range(25):
            with transaction.atomic():
                ledger = Ledger.objects.select_for_update().get()
                ledger.pruned_to += 1
                ledger.save()
        connection.close()

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Ledger.objects.get().pruned_to == 200


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_transaction_that_fails_lets_the_next_one_in() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="on purpose"), transaction.atomic():
            Ledger.objects.update(pruned_to=5)
            raise ValueError("on purpose")

    assert Ledger.objects.get().pruned_to == 0

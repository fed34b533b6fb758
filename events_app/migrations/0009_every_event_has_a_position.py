"""Events are stored with their positions; an older version, which does not, must be stopped."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events_app", "0008_number_old_events")]
    operations = [
        migrations.RemoveConstraint(model_name="event", name="event_position"),
        *(
            migrations.RemoveIndex(model_name="event", name=name)
            for name in (
                "event_unnumbered",
                "event_by_type",
                "event_by_publisher",
                "event_by_origin",
            )
        ),
        migrations.AlterField(
            model_name="event",
            name="position",
            field=models.BigIntegerField(
                editable=False, help_text="Place in the order readers see.", unique=True
            ),
        ),
        migrations.AlterField(
            model_name="ledger",
            name="head",
            field=models.BigIntegerField(default=0, help_text="Position of the newest event."),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["event_type", "position"], name="event_by_type"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["publisher", "position"], name="event_by_publisher"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("origin", "system"), _negated=True),
                fields=["origin", "position"],
                name="event_by_origin",
            ),
        ),
    ]

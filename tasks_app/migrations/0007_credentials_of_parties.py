"""By which credential a task was created, is held and was last reported on.

The database keeps the default, so that the version before, which knows none of them, can insert. The
columns are added by SQL: Django would copy the table three times on SQLite, a minute for 300,000 tasks.
"""

from django.db import migrations, models

COLUMNS = ("creator_credential", "holder_credential", "reporter_credential")


class Migration(migrations.Migration):
    dependencies = [("tasks_app", "0006_bulk_operations")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    f"ALTER TABLE tasks_app_task ADD COLUMN {name} varchar(160) DEFAULT '' NOT NULL",
                    f"ALTER TABLE tasks_app_task DROP COLUMN {name}",
                )
            ],
            state_operations=[
                migrations.AddField(
                    "task",
                    name,
                    models.CharField(
                        blank=True, db_default="", default="", editable=False, max_length=160
                    ),
                )
            ],
        )
        for name in COLUMNS
    ]

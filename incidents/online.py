"""Migrations of tables that grow: indexes that are built while people write. Only in migrations with `atomic = False`.

Django has the same for PostgreSQL alone; these are plain operations on SQLite. Each may be run again after it was cut off.
"""

from typing import Any

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

Editor = BaseDatabaseSchemaEditor
# Tables with a row for each subscriber, result or delivery.
GROWN = ("result", "rollup", "subscriber", "subscription", "consent", "delivery", "attempt")


def _is_postgres(editor: Editor) -> bool:
    return editor.connection.vendor == "postgresql"


class AddIndexOnline(migrations.AddIndex):
    """An index that keeps nobody from writing."""

    atomic = False

    def database_forwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if not _is_postgres(schema_editor):
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        editor: Any = schema_editor  # PostgreSQL's own takes `concurrently`
        # One that was cut off is there and invalid.
        editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{self.index.name}"')
        editor.add_index(model, self.index, concurrently=True)


class ReplaceUniqueOnline(migrations.AddConstraint):
    """A unique constraint in the place of an older one of the same name, other in the order of its columns only."""

    atomic = False

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        state.remove_constraint(app_label, self.model_name_lower, self.constraint.name)
        super().state_forwards(app_label, state)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        old_model = from_state.apps.get_model(app_label, self.model_name)
        old = next(
            each for each in old_model._meta.constraints if each.name == self.constraint.name
        )
        if not _is_postgres(schema_editor):
            schema_editor.remove_constraint(old_model, old)
            schema_editor.add_constraint(model, self.constraint)
            return
        constraint = self.constraint
        assert isinstance(constraint, models.UniqueConstraint)
        table, name = model._meta.db_table, constraint.name
        columns = ", ".join(f'"{model._meta.get_field(each).column}"' for each in constraint.fields)
        schema_editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}_new"')
        schema_editor.execute(
            f'CREATE UNIQUE INDEX CONCURRENTLY "{name}_new" ON "{table}" ({columns})'
        )
        # One statement, one short lock; the index takes the constraint's name.
        schema_editor.execute(
            f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}", '
            f'ADD CONSTRAINT "{name}" UNIQUE USING INDEX "{name}_new"'
        )

    def database_backwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        old_model = from_state.apps.get_model(app_label, self.model_name)
        model = to_state.apps.get_model(app_label, self.model_name)
        schema_editor.remove_constraint(old_model, self.constraint)
        before = next(each for each in model._meta.constraints if each.name == self.constraint.name)
        schema_editor.add_constraint(model, before)

"""Migrations of tables that grow: what has to read every row does so while people write. Only in an `OnlineMigration`.

Django has the like for PostgreSQL alone; these are plain operations on SQLite.
"""

from typing import Any

from django.db import migrations, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

Editor = BaseDatabaseSchemaEditor
# Tables with a row for each subscriber, result or delivery.
GROWN = ("result", "rollup", "subscriber", "subscription", "consent", "delivery", "attempt")


def _is_postgres(editor: Editor) -> bool:
    return editor.connection.vendor == "postgresql"


class OnlineMigration(migrations.Migration):
    """Step by step, each of them whole; one that was cut off goes on where it was when it is run again."""

    atomic = False

    def apply(
        self, project_state: ProjectState, schema_editor: Editor, collect_sql: bool = False
    ) -> ProjectState:
        if collect_sql or not _is_postgres(schema_editor):
            return super().apply(project_state, schema_editor, collect_sql)
        for operation in self.operations:
            step: Any = migrations.Migration(self.name, self.app_label)
            step.atomic, step.operations = False, [operation]
            if isinstance(operation, OnlineOperation):
                project_state = step.apply(project_state, schema_editor)
            elif self._is_done(operation, project_state, schema_editor):
                operation.state_forwards(self.app_label, project_state)
            else:
                with transaction.atomic(schema_editor.connection.alias):
                    project_state = step.apply(project_state, schema_editor)
                    # Keys and indexes that Django would make at the very end belong to this step.
                    while schema_editor.deferred_sql:
                        schema_editor.execute(schema_editor.deferred_sql.pop(0), params=None)
        return project_state

    def _is_done(self, operation: Any, before: ProjectState, editor: Editor) -> bool:
        """Tell by what is there. The step was whole, so a part of it stands for all."""
        after = before.clone()
        operation.state_forwards(self.app_label, after)
        introspection = editor.connection.introspection
        name = operation.model_name if hasattr(operation, "model_name") else operation.name
        table = after.apps.get_model(self.app_label, name)._meta.db_table
        with editor.connection.cursor() as cursor:
            match operation:
                case migrations.CreateModel():
                    return table in introspection.table_names(cursor)
                case migrations.AddField():
                    return _has_column(editor, after, self.app_label, operation)
                case migrations.RemoveIndex():
                    return operation.name not in introspection.get_constraints(cursor, table)
                case migrations.AddIndex():
                    return operation.index.name in introspection.get_constraints(cursor, table)
                case migrations.AddConstraint():
                    return operation.constraint.name in introspection.get_constraints(cursor, table)
        raise NotImplementedError(f"{self}: how to tell that this is done: {operation.describe()}")


def _has_column(editor: Editor, state: ProjectState, app_label: str, operation: Any) -> bool:
    model = state.apps.get_model(app_label, operation.model_name)
    column = model._meta.get_field(operation.name).column
    with editor.connection.cursor() as cursor:
        found = editor.connection.introspection.get_table_description(cursor, model._meta.db_table)
    return column in {each.name for each in found}


class OnlineOperation(Operation):
    """An operation that does `online` on PostgreSQL and elsewhere what Django's own does. Run twice, it is done once."""

    atomic = False

    def database_forwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if _is_postgres(schema_editor):
            self.online(app_label, schema_editor, from_state, to_state)
        else:
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    # Any: PostgreSQL's own editor, which takes `concurrently` and tells names
    def online(
        self, app_label: str, editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        raise NotImplementedError


class AddIndexOnline(OnlineOperation, migrations.AddIndex):
    """An index that keeps nobody from writing."""

    def online(
        self, app_label: str, editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        # One that was cut off is there and invalid.
        editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{self.index.name}"')
        editor.add_index(model, self.index, concurrently=True)


def _add_check(editor: Editor, table: str, name: str, sql: str) -> None:
    """Add the constraint for rows to come, which is quick, then look at those that are there, which keeps nobody out."""
    editor.execute(f'ALTER TABLE "{table}" DROP CONSTRAINT IF EXISTS "{name}"')
    editor.execute(f"{sql} NOT VALID", params=None)
    editor.execute(f'ALTER TABLE "{table}" VALIDATE CONSTRAINT "{name}"')


class AddFieldOnline(OnlineOperation, migrations.AddField):
    """A column with a condition of its own, such as a positive number's: Django's would read the table under the strongest lock."""

    def online(
        self, app_label: str, editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        field: Any = model._meta.get_field(self.name)
        condition = field.db_parameters(connection=editor.connection)["check"]
        if not _has_column(editor, to_state, app_label, self):
            field.db_check = lambda connection: None
            try:
                migrations.AddField.database_forwards(self, app_label, editor, from_state, to_state)
            finally:
                del field.db_check
        table = model._meta.db_table
        name = f"{table}_{field.column}_check"  # as PostgreSQL would have named it
        sql = f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" CHECK ({condition})'
        _add_check(editor, table, name, sql)


class DropFieldIndexOnline(OnlineOperation, migrations.AlterField):
    """A foreign key loses its own index; Django's makes the key anew, and every row is asked for under a lock."""

    def online(
        self, app_label: str, editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model: Any = from_state.apps.get_model(app_label, self.model_name)
        named = {index.name for index in model._meta.indexes}
        for name in editor._constraint_names(
            model,
            [model._meta.get_field(self.name).column],
            index=True,
            unique=False,
            exclude=named,
        ):
            editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"')

    def database_backwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        # Back as Django does it.
        migrations.AlterField.database_forwards(
            self, app_label, schema_editor, from_state, to_state
        )


class AddCheckOnline(OnlineOperation, migrations.AddConstraint):
    """A check constraint that keeps nobody from writing while it looks at the rows that are there."""

    def online(
        self, app_label: str, editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        sql = str(self.constraint.create_sql(model, editor))
        _add_check(editor, model._meta.db_table, self.constraint.name, sql)


class ReplaceUniqueOnline(OnlineOperation, migrations.AddConstraint):
    """A unique constraint in the place of an older one of the same name, other in the order of its columns only."""

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
        if not _is_postgres(schema_editor):
            model = from_state.apps.get_model(app_label, self.model_name)
            schema_editor.remove_constraint(model, self._of(model))
        super().database_forwards(app_label, schema_editor, from_state, to_state)

    def online(
        self, app_label: str, editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        constraint = self.constraint
        assert isinstance(constraint, models.UniqueConstraint)
        table, name = model._meta.db_table, constraint.name
        columns = ", ".join(f'"{model._meta.get_field(each).column}"' for each in constraint.fields)
        editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}_new"')
        editor.execute(f'CREATE UNIQUE INDEX CONCURRENTLY "{name}_new" ON "{table}" ({columns})')
        # One statement, one short lock; the index takes the constraint's name.
        editor.execute(
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
        schema_editor.add_constraint(model, self._of(model))

    def _of(self, model: type[models.Model]) -> models.BaseConstraint:
        """Return the constraint of this name as the model has it."""
        return next(each for each in model._meta.constraints if each.name == self.constraint.name)

"""``jobgate export-schema``: the public schema as a file, to be kept beside the code and compared."""

from __future__ import annotations

from pathlib import Path

import click

from jobs.errors import JobgateError
from schema.build import printed_schema


@click.command("export-schema")
@click.option("--check", type=click.Path(dir_okay=False, path_type=Path), help="Fail unless this file says the same.")
def export_schema_command(check: Path | None) -> None:
    """Print the GraphQL schema."""
    schema = printed_schema()
    if check is None:
        click.echo(schema, nl=False)
    elif not check.is_file() or check.read_text(encoding="utf-8") != schema:
        raise JobgateError(f"{check} is not the schema of this code: jobgate export-schema > {check}")

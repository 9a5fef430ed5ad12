"""Arguments and options that several commands share, declared once."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class FirstIfUnnamed(TyperGroup):
    """Commands of which the first is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name the first command, unless another one or the help of all is asked for."""
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else [next(iter(self.commands)), *args])


def _catalogs(incomplete: str) -> list[str]:
    """Catalogue names, for the shell's completion."""
    from catalogs.registry import names

    return [name for name in names() if name.startswith(incomplete)]


Catalog = Annotated[
    str, typer.Argument(metavar="CATALOG", help="Name of a catalogue; see `aisle catalogs`.", autocompletion=_catalogs)
]
MaybeCatalog = Annotated[
    str | None,
    typer.Argument(metavar="CATALOG", help="Only this catalogue.", autocompletion=_catalogs, show_default=False),
]
Source = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE", help="A file, several, a folder, a quoted glob, an https:// or s3:// address."),
]
MaybeSource = Annotated[
    list[str] | None,
    typer.Argument(metavar="SOURCE", help="Ingested first, when given.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Prefect = Annotated[
    bool,
    typer.Option("--prefect", help="Run as a Prefect flow run. PREFECT_API_URL names a server, else one is started."),
]
ExitCode = Annotated[
    bool,
    typer.Option(
        "--exit-code", help="Exit with 3 on drift, a model that the gate refused, or when every row was rejected."
    ),
]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, kept in the model's history.")]

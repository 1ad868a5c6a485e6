"""``tamis methods``: what tamis can do."""

from __future__ import annotations

import typer

from tamis.cli.console import JsonOption, guarded, print_json
from tamis.registry import METHODS


@guarded
def methods(json_: JsonOption = False) -> None:
    """List the methods, the verb of each, what it decides about and its paper."""
    if json_:
        fields = ("summary", "verb", "decides", "paper", "docs")
        print_json({name: {f: getattr(entry, f) for f in fields} for name, entry in METHODS.items()})
        return
    for name, entry in METHODS.items():
        typer.echo(f"{name}  (tamis {entry.verb}; decides about {entry.decides}; {entry.paper})")
        typer.echo(f"    {entry.summary}")

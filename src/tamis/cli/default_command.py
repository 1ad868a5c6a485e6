"""A group of commands, one of which is meant when the first word is none of them."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


def falling_back_to(command: str) -> type[TyperGroup]:
    """Return the class of a group whose first word may be an argument of ``command``."""

    class WithDefault(TyperGroup):
        """A group with a command that need not be named."""

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            """Put the command in front of what is none."""
            if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
                args = [command, *args]
            return list(super().parse_args(ctx, args))

    return WithDefault

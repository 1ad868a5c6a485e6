"""The command line: ``tamis VERB``. One file a verb; numerical libraries are imported when a verb runs."""

from tamis.cli.app import main

__all__ = ["main"]

"""Calls of transformers: what has to be installed, silence on stderr, its errors in one line."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from tamis.errors import MissingExtraError


def require(*packages: str) -> None:
    """Raise MissingExtraError unless the packages are installed."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise MissingExtraError(
            f"Running a model on this machine needs {' and '.join(missing)}; run: pip install 'tamis[lm]'."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars and log lines of transformers off stderr within the block."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def first_line(error: Exception) -> str:
    """First line of what a library said, for a message of one sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")

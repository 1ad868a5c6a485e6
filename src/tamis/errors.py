"""The exceptions tamis raises on purpose, and the exit code that each becomes on the command line.

Every message says what was wrong, where, what was expected, what was found and what to do about it.

::

    TamisError
    ├── RecipeError(ValueError)        a parameter or recipe is wrong            exit 2
    ├── DataError(ValueError)          the data cannot be used as given          exit 2
    ├── RunStateError(RuntimeError)    the run directory does not fit            exit 2
    ├── MissingExtraError(ImportError) an optional dependency is not installed   exit 2
    ├── IncompleteError(RuntimeError)  measurements are missing; resume          exit 3
    ├── BudgetError(RuntimeError)      a spending limit was reached              exit 4
    └── BackendError(ConnectionError)  a model or server cannot be reached       exit 5
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar


class TamisError(Exception):
    """Base of all errors that tamis raises on purpose."""

    exit_code: ClassVar[int] = 2


class RecipeError(TamisError, ValueError):
    """A parameter, a recipe or a command-line option is wrong."""


class DataError(TamisError, ValueError):
    """The data cannot be used as given."""


class RunStateError(TamisError, RuntimeError):
    """A run directory is missing, unwritable, in use, or belongs to another recipe."""


class MissingExtraError(TamisError, ImportError):
    """An optional dependency is needed and not installed."""


class IncompleteError(TamisError, RuntimeError):
    """Work stopped before every unit was measured; ``tamis resume`` goes on."""

    exit_code: ClassVar[int] = 3


class BudgetError(TamisError, RuntimeError):
    """A limit on money or tokens was reached."""

    exit_code: ClassVar[int] = 4


class BackendError(TamisError, ConnectionError):
    """A model back-end or server cannot be reached or answers nonsense."""

    exit_code: ClassVar[int] = 5


def parameter_error(owner: str, name: str, expected: str, got: Any) -> RecipeError:
    """Return the one-sentence error for a bad parameter, in scikit-learn's wording.

    Examples
    --------
    >>> print(parameter_error("DS2", "budget", "an int in [1, inf)", 0))
    The 'budget' parameter of DS2 must be an int in [1, inf). Got 0 instead.
    """
    return RecipeError(f"The {name!r} parameter of {owner} must be {expected}. Got {got!r} instead.")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest known name, else the list of known names.

    Examples
    --------
    >>> did_you_mean("ds3", ["ds2", "scale"])
    " Did you mean 'ds2'?"
    """
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=1)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known names: {', '.join(choices)}." if choices else ""

"""Manners that all methods share: a constructor that only stores, ``get_params``, a readable ``repr``."""

from __future__ import annotations

import inspect
from typing import Any, Self

from tamis.errors import RunStateError, did_you_mean, parameter_error
from tamis.select import Selection


class Estimator:
    """Base of the methods. The constructor takes keywords only and stores each under its own name."""

    @classmethod
    def parameter_names(cls) -> list[str]:
        """Names of the constructor's parameters, in order."""
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters as they were given (``deep`` is there for scikit-learn's sake)."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Raises
        ------
        RecipeError
            If a name is not a parameter.
        """
        for name, value in params.items():
            if name not in self.parameter_names():
                known = did_you_mean(name, self.parameter_names())
                raise parameter_error(type(self).__name__, name, f"one that exists.{known}", value)
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = [f"{k}={v!r}" for k, v in self.get_params().items() if v is not defaults[k].default]
        return f"{type(self).__name__}({', '.join(changed)})"


class Selector(Estimator):
    """A method that ends in a :class:`~tamis.select.Selection`: ``fit(...)`` then ``select()``."""

    selection_: Selection

    def select(self) -> Selection:
        """Return the selection made by ``fit``.

        Raises
        ------
        RunStateError
            If ``fit`` was not called.
        """
        if not hasattr(self, "selection_"):
            name = type(self).__name__
            raise RunStateError(f"This {name} is not fitted yet; call fit(table, ratings=...) before select().")
        return self.selection_

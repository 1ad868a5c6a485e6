"""What calls cost in money, where that is known."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tamis.errors import RecipeError, did_you_mean

_SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|20\d{6})$")
_PER = 1_000_000


@dataclass(frozen=True)
class Price:
    """Price of a model.

    Attributes
    ----------
    input, output : float
        USD per million tokens read and written.
    batch_discount : float
        Share that the batch interface takes off, in [0, 1].
    """

    input: float
    output: float
    batch_discount: float = 0.0


@dataclass(frozen=True)
class PriceTable:
    """Prices by model. Prices change: the table says of which day it is, and the user's own file goes over it.

    Attributes
    ----------
    prices : mapping of str to Price
        By model name, or ``HOST/MODEL`` for a model that another host sells.
    as_of : str
        Date of the prices.
    """

    prices: Mapping[str, Price]
    as_of: str

    @classmethod
    def default(cls) -> PriceTable:
        """Return the shipped table: list prices of OpenAI's chat models.

        Examples
        --------
        >>> PriceTable.default().cost("gpt-4o-mini", 1_000_000, 100_000)
        0.21
        """
        text = files("tamis.models").joinpath("prices.toml").read_text(encoding="utf-8")
        return _table(tomllib.loads(text), "The shipped price table")

    @classmethod
    def read(cls, path: str | Path) -> PriceTable:
        """Return the shipped table with the prices of a TOML file over it.

        The file holds ``[models]`` with lines such as ``"host.example/llama" = { input = 0.2, output = 0.6 }``, and
        may hold ``as_of`` and ``batch_discount``. A discount that is not given is none.

        Raises
        ------
        RecipeError
            If the file cannot be read, is no TOML, or holds a wrong or unknown key; the message names it.
        """
        path = Path(path)
        where = f"The price table {path}"
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecipeError(f"{where} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise RecipeError(f"{where} is no UTF-8 text; save it as UTF-8.") from error
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{where} is not valid TOML: {error}.") from error
        shipped, own = cls.default(), _table(given, where)
        return cls({**shipped.prices, **own.prices}, own.as_of or shipped.as_of)

    def cost(
        self, price_key: str | None, input_tokens: int | None, output_tokens: int | None, *, batch: bool = False
    ) -> float | None:
        """Return the USD that so many tokens cost; None if the price or a count is unknown.

        Parameters
        ----------
        price_key : str or None
            None for a model whose calls cost no money.
        input_tokens, output_tokens : int or None
        batch : bool
            Whether the call went through the batch interface.

        Examples
        --------
        >>> table = PriceTable({"m": Price(2.0, 8.0, 0.5)}, "2026-01-01")
        >>> table.cost("m", 500_000, 0), table.cost("m", 500_000, 0, batch=True)
        (1.0, 0.5)
        >>> table.cost(None, 5, 5), table.cost("unknown", 5, 5), table.cost("m", None, 5)
        (0.0, None, None)
        """
        if price_key is None:
            return 0.0
        price = self._price(price_key)
        if price is None or input_tokens is None or output_tokens is None:
            return None
        usd = (input_tokens * price.input + output_tokens * price.output) / _PER
        return usd * (1.0 - price.batch_discount) if batch else usd

    def known(self, price_key: str | None) -> bool:
        """Whether the price is known; that of a model without a key is: nothing."""
        return price_key is None or self._price(price_key) is not None

    def _price(self, key: str) -> Price | None:
        # only a date may follow a name: gpt-4o-mini is no gpt-4o, and gpt-5-pro no gpt-5
        return self.prices.get(key) or self.prices.get(_SNAPSHOT.sub("", key))


def _table(given: Mapping[str, Any], where: str) -> PriceTable:
    _refuse_unknown(given, ("as_of", "batch_discount", "models"), where)
    discount = _number(given.get("batch_discount", 0.0), "batch_discount", where, most=1.0)
    models = given.get("models", {})
    if not isinstance(models, Mapping):
        raise RecipeError(f"{where} must have a table [models]. Got models = {models!r} instead.")
    prices = {}
    for name, entry in models.items():
        here = f"{where}, at models.{name!r},"
        if not isinstance(entry, Mapping) or not {"input", "output"} <= entry.keys():
            raise RecipeError(f"{here} must have {{ input = USD, output = USD }} per million tokens. Got {entry!r}.")
        _refuse_unknown(entry, ("input", "output", "batch_discount"), here)
        prices[name] = Price(
            _number(entry["input"], "input", here),
            _number(entry["output"], "output", here),
            _number(entry.get("batch_discount", discount), "batch_discount", here, most=1.0),
        )
    return PriceTable(prices, str(given.get("as_of", "")))


def _number(value: Any, key: str, where: str, *, most: float = float("inf")) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most or value == float("inf"):
        bound = "a number in [0, inf)" if most == float("inf") else f"a number in [0, {most:g}]"
        raise RecipeError(f"{where} must have {bound} as {key}. Got {value!r} instead.")
    return float(value)


def _refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            raise RecipeError(f"{where} has an unknown key {key!r}.{did_you_mean(key, known)}")

"""The template environment: everything is escaped unless a template of this package wrote it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

ABSENT = "–"
NO_BREAK = "\N{NO-BREAK SPACE}"


def count(value: float | None) -> str:
    """Write a number of things with thousands separated.

    Examples
    --------
    >>> count(12345), count(None)
    ('12,345', '–')
    """
    return ABSENT if _absent(value) else f"{value:,.0f}"


def share(value: float | None, digits: int = 1) -> str:
    """Write a share as a percentage; a small one that is not zero is never written as 0.

    Examples
    --------
    >>> share(0.1234), share(0.0), share(0.00001), share(float("nan"))
    ('12.3 %', '0 %', '< 0.1 %', '–')
    """
    if value is None or _absent(value):
        return ABSENT
    if value == 0:
        return "0 %"
    if 0 < value < 0.5 * 10 ** -(digits + 2):
        return f"< {10**-digits:g} %"
    return f"{100 * value:.{digits}f} %"


def decimal(value: float | None, digits: int = 2) -> str:
    """Write a number with a fixed number of decimals.

    Examples
    --------
    >>> decimal(0.125), decimal(None), decimal(-0.001), decimal(-1.5)
    ('0.12', '–', '0.00', '−1.50')
    """
    if value is None or _absent(value):
        return ABSENT
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def seconds(value: float | None) -> str:
    """Write a duration in the unit that a reader would choose.

    Examples
    --------
    >>> seconds(0.42), seconds(3.0), seconds(12.3), seconds(75), seconds(7260)
    ('0.4 s', '3 s', '12 s', '1 min 15 s', '2 h 01 min')
    >>> seconds(0.0), seconds(0.01)
    ('< 1 s', '< 0.1 s')
    """
    if value is None or _absent(value):
        return ABSENT
    if value < 0.05:
        return "< 0.1 s" if value else "< 1 s"  # a clock of whole seconds says 0
    if value < 10:
        return f"{value:.1f}".removesuffix(".0") + " s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def listed(items: Sequence[Any]) -> str:
    """Join names the way a sentence does.

    Examples
    --------
    >>> listed(["1"]), listed(["1", "2", "5"])
    ('1', '1, 2 and 5')
    """
    names = [str(item) for item in items]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def plural(n: float, noun: str) -> str:
    """Write a number of things with its noun.

    Examples
    --------
    >>> plural(1, "record"), plural(1200, "record"), plural(2, "copy")
    ('1 record', '1,200 records', '2 copies')
    """
    if n == 1:
        return f"1 {noun}"
    return f"{count(n)} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"


def unbroken(text: str) -> str:
    """Let an estimate break across lines before its interval only.

    Examples
    --------
    >>> unbroken("39 % (37 % to 41 %)").split(" ")[1] == "(37\u00a0%\u00a0to\u00a041\u00a0%)"
    True
    """
    return text.replace(" ", NO_BREAK).replace(f"{NO_BREAK}(", " (", 1)


def with_interval(estimate: Sequence[float | None] | None, digits: int = 2) -> str:
    """Write an estimate with its interval; without one it says so.

    Examples
    --------
    >>> with_interval([0.391, 0.374, 0.412]), with_interval([None, None, None]), with_interval([1.0, None, None], 1)
    ('0.39 (0.37 to 0.41)', '–', '1.0 (no interval)')
    """
    if estimate is None or estimate[0] is None:
        return ABSENT
    if estimate[1] is None or estimate[2] is None:
        return f"{decimal(estimate[0], digits)} (no interval)"
    return f"{decimal(estimate[0], digits)} ({decimal(estimate[1], digits)} to {decimal(estimate[2], digits)})"


def share_with_interval(estimate: Sequence[float | None] | None, digits: int = 0) -> str:
    """Write a share with its interval as percentages.

    Examples
    --------
    >>> share_with_interval([0.391, 0.374, 0.412]), share_with_interval([0.0, 0.0, 0.06]), share_with_interval(None)
    ('39 % (37 % to 41 %)', '0 % (0 % to 6 %)', '–')
    """
    if estimate is None or estimate[0] is None:
        return ABSENT
    if estimate[1] is None or estimate[2] is None:
        return f"{share(estimate[0], digits)} (no interval)"
    return f"{share(estimate[0], digits)} ({share(estimate[1], digits)} to {share(estimate[2], digits)})"


def render(template: str, **values: Any) -> Markup:
    """Render a template of this package to markup that is safe to put into a page.

    Parameters
    ----------
    template : str
        Name below ``templates/``.
    **values
        What it shows. Strings are escaped; :class:`markupsafe.Markup` is not.
    """
    return Markup(_environment().get_template(template).render(values))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tamis.report"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(
        count=count, share=share, decimal=decimal, seconds=seconds, listed=listed, plural=plural, unbroken=unbroken
    )
    return environment


def _absent(value: float | None) -> bool:
    return value is None or not math.isfinite(value)

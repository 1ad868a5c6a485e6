"""Small classifiers by name: what a folder of weights may be without any code beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from tamis.errors import RecipeError, did_you_mean

POOL = 2
KERNEL = 3


def mlp(sizes: Sequence[int]) -> Any:
    """Perceptron with a ReLU between linear layers.

    Parameters
    ----------
    sizes : sequence of int
        Features, hidden layers, classes.

    Examples
    --------
    >>> len(mlp([4, 8, 3]))
    3
    """
    from torch import nn

    if len(sizes) < 2:
        raise RecipeError(
            f"A network 'mlp' needs at least the sizes of its input and output. Got {list(sizes)} instead."
        )
    layers: list[Any] = []
    for width, following in pairwise(sizes):
        layers += [nn.Linear(width, following), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn(shape: Sequence[int], channels: Sequence[int], hidden: int, classes: int, batch_norm: bool = False) -> Any:
    """Convolutions of 3 x 3, each with ReLU and pooling, and two linear layers.

    Parameters
    ----------
    shape : sequence of int
        Channels, height and width of an image.
    channels : sequence of int
        Of each convolution; each halves height and width.
    hidden, classes : int
    batch_norm : bool, default=False
        Behind each convolution.

    Examples
    --------
    >>> sum(each.numel() for each in cnn([1, 28, 28], [8, 16], 64, 10).parameters())
    52138
    """
    from torch import nn

    depth, height, width = shape
    layers: list[Any] = []
    for following in channels:
        layers.append(nn.Conv2d(depth, following, KERNEL, padding=KERNEL // 2))
        layers += [nn.BatchNorm2d(following)] * batch_norm + [nn.ReLU(), nn.MaxPool2d(POOL)]
        depth, height, width = following, height // POOL, width // POOL
    layers += [nn.Flatten(), nn.Linear(depth * height * width, hidden), nn.ReLU(), nn.Linear(hidden, classes)]
    return nn.Sequential(*layers)


NETWORKS: dict[str, Callable[..., Any]] = {"mlp": mlp, "cnn": cnn}


def make_network(name: str, arguments: dict[str, Any]) -> Any:
    """Make a network of :data:`NETWORKS`, with random weights.

    Raises
    ------
    RecipeError
        If there is none of that name, or its arguments do not fit.
    """
    if name not in NETWORKS:
        raise RecipeError(f"There is no network called {name!r}.{did_you_mean(name, NETWORKS)}")
    try:
        return NETWORKS[name](**arguments)
    except TypeError as error:
        raise RecipeError(f"The arguments of the network {name!r} do not fit: {error}.") from error

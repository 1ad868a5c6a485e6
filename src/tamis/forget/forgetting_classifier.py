"""``ForgettingClassifier``: a torch network with the manners of scikit-learn, which can be made to forget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from tamis.errors import DataError
from tamis.forget.forgetter import Forgetter, Forgotten
from tamis.forget.ugradsl import UGradSL
from tamis.models.small_networks import mlp
from tamis.runs.digests import derive_seed
from tamis.train.labelled import CrossEntropy, LabelledExamples, logits_of
from tamis.train.loop import train
from tamis.train.seeded import seeded
from tamis.train.settings import TrainSettings


class ForgettingClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that is trained like any other and can be made to forget some of its examples.

    Parameters
    ----------
    network : callable, optional
        From (number of features, number of classes) to a torch module that puts out logits. Default: a perceptron with
        one hidden layer of 100.
    epochs : float, default=50
    learning_rate : float, default=0.05
        Of SGD with momentum 0.9, falling to 0 as a cosine.
    batch_rows : int, default=64
    weight_decay : float, default=5e-4
    random_state : int, default=0

    Attributes
    ----------
    classes_ : ndarray
        Labels as they were given, sorted.
    network_ : torch.nn.Module
    forgotten_ : Forgotten
        How the last call of :meth:`forget` went.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = ForgettingClassifier(epochs=20).fit(X, y)
    >>> before = clf.score(X[y == 2], y[y == 2])
    >>> after = clf.forget(X, y, y == 2).score(X[y == 2], y[y == 2])
    >>> after < before
    True
    """

    def __init__(
        self,
        *,
        network: Callable[[int, int], Any] | None = None,
        epochs: float = 50,
        learning_rate: float = 0.05,
        batch_rows: int = 64,
        weight_decay: float = 5e-4,
        random_state: int = 0,
    ) -> None:
        self.network = network
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_rows = batch_rows
        self.weight_decay = weight_decay
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train a new network.

        Parameters
        ----------
        X : array-like of shape (N, F)
        y : array-like of shape (N,)
            Labels, of any kind that sorts.
        """
        import torch

        data, labels = validate_data(self, X, y, dtype=np.float32)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        make = self.network or _perceptron
        with seeded(derive_seed(self.random_state, "weights"), torch.device("cpu")):
            self.network_ = make(data.shape[1], max(2, len(self.classes_)))
        training = TrainSettings(
            epochs=float(self.epochs), batch_rows=self.batch_rows, micro_tokens=self.batch_rows,
            learning_rate=self.learning_rate, schedule="cosine", warmup=0.0, optimizer="sgd", momentum=0.9,
            weight_decay=self.weight_decay, tune="full", precision="float32", seed=self.random_state,
        )  # fmt: skip
        train(self.network_, CrossEntropy(LabelledExamples.of(data, numbers)), training)
        return self

    def forget(
        self,
        X: ArrayLike,
        y: ArrayLike,
        forget: ArrayLike,
        *,
        held_out: tuple[ArrayLike, ArrayLike] | None = None,
        way: Forgetter | None = None,
    ) -> Self:
        """Make the network behave as if it had not seen some of its examples.

        Parameters
        ----------
        X, y : array-like
            What it was trained on.
        forget : array-like of bool or int
            A mask, or positions.
        held_out : tuple of (X, y), optional
            Examples that it was not trained on, for the stop rule.
        way : Forgetter, optional
            Default: UGradSL+ with this classifier's ``random_state``.

        Raises
        ------
        DataError
            If a label was not there in training, or the request makes no sense.
        """
        check_is_fitted(self)
        way = UGradSL(seed=self.random_state) if way is None else way
        validation = None if held_out is None else self._examples(*held_out)
        done: Forgotten = way.apply(self.network_, self._examples(X, y), forget, held_out=validation)
        self.network_, self.forgotten_ = done.network, done
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:
        """Logits, shape (N, K)."""
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float32, reset=False)
        examples = LabelledExamples.of(data, np.zeros(len(data), dtype=np.int64))
        return logits_of(self.network_, examples)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities, shape (N, K)."""
        from scipy.special import softmax

        found: NDArray[np.float64] = softmax(self.decision_function(X).astype(np.float64), axis=1)
        return found

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels, shape (N,)."""
        found: NDArray[Any] = self.classes_[self.decision_function(X)[:, : len(self.classes_)].argmax(axis=1)]
        return found

    def _examples(self, X: ArrayLike, y: ArrayLike) -> LabelledExamples:
        data, labels = validate_data(self, X, y, dtype=np.float32, reset=False)
        numbers = np.searchsorted(self.classes_, labels)
        known = self.classes_[np.minimum(numbers, len(self.classes_) - 1)] == labels
        if not known.all():
            wrong = np.asarray(labels)[~known].tolist()[0]
            raise DataError(f"The label {wrong!r} was not there in training; the classes are {self.classes_.tolist()}.")
        return LabelledExamples.of(data, numbers)


def _perceptron(features: int, classes: int) -> Any:
    return mlp([features, 100, classes])

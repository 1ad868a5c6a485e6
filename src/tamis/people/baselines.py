"""Worker skills and consensus labels by the methods of crowd-kit, to stand beside conditioned peer prediction."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tamis.data import AnswerCodes
from tamis.errors import DataError, MissingExtraError, RecipeError, did_you_mean

_MMSR_PAIRS = 10_000
"""Worker pairs with a task in common above which crowd-kit's MMSR, with its square in dense cells, takes 3 GB."""


@dataclass(frozen=True, eq=False)
class Baselines:
    """What each method says about workers and tasks.

    Attributes
    ----------
    skill : dict of str to ndarray of float64, shape (n_workers,)
        Higher is better; nan for a worker without answers, and for all workers where a method rates none. The scale is
        the method's own, see :func:`crowdkit_baselines`.
    labels : dict of str to ndarray of int32, shape (n_tasks,)
        Consensus of each task; -1 where the method gives none.
    """

    skill: dict[str, NDArray[np.float64]]
    labels: dict[str, NDArray[np.int32]]


def crowdkit_baselines(codes: AnswerCodes, names: Sequence[str], *, seed: int = 0) -> Baselines:
    """Run methods of crowd-kit with its defaults.

    ================= =================================================================================================
    name              skill
    ================= =================================================================================================
    ``dawid-skene``   ``sum_k prior_k A_w[k, k]`` of the confusion matrices (Dawid and Skene 1979)
    ``one-coin``      accuracy (Zhang, Chen, Zhou and Jordan 2016)
    ``glad``          ability ``alpha``, on a log-odds scale (Whitehill et al. 2009)
    ``mace``          probability of not spamming (Hovy et al. 2013)
    ``wawa``          share of answers equal to the majority vote; the consensus is weighted by it
    ``kos``           none (Karger, Oh and Shah 2011); two classes only
    ``mmsr``          log odds of being right (Ma and Olshevsky 2020)
    ``majority-vote`` share of answers equal to the majority vote
    ================= =================================================================================================

    Parameters
    ----------
    codes : AnswerCodes
    names : sequence of str
        Methods to run, in this order.
    seed : int, default 0
        Where ``kos``, ``mace`` and ``mmsr`` start.

    Returns
    -------
    Baselines

    Raises
    ------
    MissingExtraError
        If crowd-kit is not installed.
    RecipeError
        If a name is not one of the above.
    DataError
        If fewer than two classes occur, a method cannot work on these answers, or fails on them.

    Notes
    -----
    28,000 answers by 200 workers take crowd-kit about 40 s for ``glad`` and 4 s or less for each other method. For a
    million answers its ``dawid-skene`` takes about 13 times as long as :func:`tamis.noise.dawid_skene`.

    Examples
    --------
    >>> task, worker = np.divmod(np.arange(300), 3)
    >>> label = np.where((worker == 2) & (task % 5 < 2), task + 1, task) % 2  # worker 2 errs on two tasks of five
    >>> found = crowdkit_baselines(AnswerCodes.of(task, worker, label), ["wawa"])
    >>> found.skill["wawa"].tolist(), found.labels["wawa"][:4].tolist()
    ([1.0, 1.0, 0.6], [0, 1, 0, 1])
    """
    _require_possible(codes, names)
    try:
        import crowdkit.aggregation as crowdkit
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("The baselines need crowd-kit; run: pip install 'tamis[crowd]'.") from error
    # int64 because a sum of int32 labels is another type to pandas, and in order of worker, as MACE needs it
    columns = {"task": codes.task, "worker": codes.worker, "label": codes.label}
    answers = pd.DataFrame({name: values.astype(np.int64) for name, values in columns.items()})
    skill, labels = {}, {}
    for name in names:
        with _foreign(name):
            rated, agreed = METHODS[name](crowdkit, answers, seed)
        skill[name] = np.full(codes.n_workers, np.nan)
        skill[name][rated.index.to_numpy()] = rated.to_numpy()
        labels[name] = np.full(codes.n_tasks, -1, dtype=np.int32)
        labels[name][agreed.index.to_numpy()] = agreed.to_numpy()
    return Baselines(skill, labels)


def _require_possible(codes: AnswerCodes, names: Sequence[str]) -> None:
    for name in names:
        if name not in METHODS:
            raise RecipeError(f"There is no baseline {name!r}.{did_you_mean(name, METHODS)}")
    n_used = len(np.unique(codes.label))
    if n_used < 2:
        raise DataError(f"crowdkit_baselines expects answers of two classes or more. Got {n_used}: nothing to compare.")
    if "kos" in names and n_used > 2:
        raise DataError(f"The baseline 'kos' is for two classes. Got answers of {n_used}; leave it out.")
    if "mmsr" in names and (n_pairs := _pairs_that_met(codes)) > _MMSR_PAIRS:
        raise DataError(
            f"The baseline 'mmsr' takes memory with the square of the pairs of workers that share a task, and is run "
            f"for at most {_MMSR_PAIRS} of them. Got {n_pairs} or more; leave it out."
        )


def _pairs_that_met(codes: AnswerCodes) -> int:
    """Pairs of workers that share a task, counted only as far as :data:`_MMSR_PAIRS`."""
    most = int(codes.per_task.max())
    if (n_pairs := most * (most - 1) // 2) > _MMSR_PAIRS:
        return n_pairs
    met = sparse.csr_array((np.ones(len(codes)), (codes.worker, codes.task)))
    return int(sparse.triu(met @ met.T, k=1).nnz)


@contextmanager
def _foreign(name: str) -> Iterator[None]:
    """Keep the warnings of crowd-kit and its seeding of NumPy's global generator to itself."""
    state = np.random.get_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, RuntimeError) as error:
        raise DataError(f"crowd-kit's {name!r} fails on these answers ({error}); leave it out.") from error
    finally:
        np.random.set_state(state)


def _majority_vote(crowdkit: Any, answers: Any, seed: int) -> tuple[Any, Any]:
    found = crowdkit.MajorityVote().fit(answers)
    return found.skills_, found.labels_


def _wawa(crowdkit: Any, answers: Any, seed: int) -> tuple[Any, Any]:
    skills = crowdkit.Wawa().fit(answers).skills_
    # this is Wawa.predict without its check by scikit-learn, which since version 1.7 refuses what is no BaseEstimator
    return skills, crowdkit.MajorityVote().fit(answers, skills=skills).labels_


def _dawid_skene(crowdkit: Any, answers: Any, seed: int) -> tuple[Any, Any]:
    found = crowdkit.DawidSkene().fit(answers)
    written = found.errors_.index.get_level_values("label")
    right = found.errors_.to_numpy()[np.arange(len(written)), found.errors_.columns.get_indexer(written)]
    weighted = found.errors_.iloc[:, 0].copy()
    weighted[:] = right * found.priors_.reindex(written).to_numpy()
    return weighted.groupby(level="worker").sum(), found.labels_


def _one_coin(crowdkit: Any, answers: Any, seed: int) -> tuple[Any, Any]:
    found = crowdkit.OneCoinDawidSkene().fit(answers)
    return found.skills_, found.labels_


def _glad(crowdkit: Any, answers: Any, seed: int) -> tuple[Any, Any]:
    found = crowdkit.GLAD(silent=True).fit(answers)
    return found.alphas_, found.labels_


def _mace(crowdkit: Any, answers: Any, seed: int) -> tuple[Any, Any]:
    # crowd-kit numbers labels by first appearance and sums them in sorted order: the two must be the same
    names = answers["label"].unique()
    position = np.empty(names.max() + 1, dtype=np.int64)
    position[names] = np.arange(len(names))
    # its restarts all start from the same seed, hence from the same point: one is enough
    found = crowdkit.MACE(n_restarts=1, random_state=seed, verbose=0)
    found.fit(answers.assign(label=position[answers["label"]]))
    workers = answers["worker"].drop_duplicates()
    skills = workers.set_axis(workers).astype(np.float64)
    skills[:] = found.spamming_[:, 1]
    return skills, found.labels_.map(lambda label: names[label])


def _kos(crowdkit: Any, answers: Any, seed: int) -> tuple[Any, Any]:
    found = crowdkit.KOS(random_state=seed).fit(answers[_in_cycles(answers)])
    return answers["worker"].iloc[:0].astype(np.float64), found.labels_


def _in_cycles(answers: Any) -> NDArray[np.bool_]:
    """Answers in components of the task-worker graph with a cycle: KOS has nothing to say about any other."""
    task, worker = answers["task"].to_numpy(), answers["worker"].to_numpy()
    n_tasks, n_nodes = task.max() + 1, task.max() + worker.max() + 2
    edges = sparse.coo_array((np.ones(len(task)), (task, n_tasks + worker)), shape=(n_nodes, n_nodes))
    _, component = sparse.csgraph.connected_components(edges, directed=False)
    n_edges = np.bincount(component[task], minlength=n_nodes)
    return np.asarray((n_edges >= np.bincount(component, minlength=n_nodes))[component[task]])


def _mmsr(crowdkit: Any, answers: Any, seed: int) -> tuple[Any, Any]:
    found = crowdkit.MMSR(random_state=seed)
    labels = found.fit_predict(answers)
    return found.skills_, labels


METHODS: dict[str, Callable[[Any, Any, int], tuple[Any, Any]]] = {
    "dawid-skene": _dawid_skene,
    "one-coin": _one_coin,
    "glad": _glad,
    "mace": _mace,
    "wawa": _wawa,
    "kos": _kos,
    "mmsr": _mmsr,
    "majority-vote": _majority_vote,
}

"""Tasks of the LM evaluation harness on a model in memory, where the harness and the task's data are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tamis.errors import BackendError, MissingExtraError, RecipeError, did_you_mean
from tamis.evidence.resampling import share_interval

METRICS = ("acc", "exact_match", "acc_norm")
"""Which figure of a task is taken: the first of these that it has. Each is a share of questions."""


def require_tasks(tasks: Sequence[str], folder: str | None = None) -> None:
    """Raise unless the harness is installed and knows these tasks; no data is read yet.

    Raises
    ------
    MissingExtraError
        If lm-eval is not installed.
    RecipeError
        If there is no such task, or no such folder.
    """
    if tasks:
        manager = _manager(folder)
        known = set(manager.all_tasks)
        for task in tasks:
            if task not in known:
                raise RecipeError(f"lm-eval knows no task {task!r}.{did_you_mean(task, sorted(known))}")


def task_scores(
    network: Any, tokenizer: Any, tasks: Sequence[str], *, folder: str | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Ask a model the tasks, without examples and without a chat template (the paper's setting of layer pruning).

    Parameters
    ----------
    network : transformers.PreTrainedModel
    tokenizer : transformers.PreTrainedTokenizerBase
    tasks : sequence of str
        Names as ``lm-eval ls tasks`` lists them.
    folder : str, optional
        Folder of further task files.
    limit : int, optional
        Take the first so many questions of each task.

    Returns
    -------
    list of dict
        ``task``, ``metric``, ``estimate`` ``[value, low, high]`` (Wilson) and ``n``, questions, for each task.

    Raises
    ------
    MissingExtraError, RecipeError
        As :func:`require_tasks`.
    BackendError
        If the data of a task is neither on this machine nor to be fetched.
    """
    if not tasks:
        return []
    require_tasks(tasks, folder)
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    from tamis.models._transformers import first_line, quiet

    try:
        with quiet():
            harnessed = HFLM(pretrained=network, tokenizer=tokenizer, batch_size=8)
            found = simple_evaluate(
                harnessed, tasks=list(tasks), task_manager=_manager(folder), limit=limit, bootstrap_iters=0,
                log_samples=False, verbosity="ERROR",
            )  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise BackendError(
            f"The tasks {', '.join(tasks)} could not be asked ({first_line(error)}); their data has to be in the cache "
            "of the library datasets, or reachable."
        ) from error
    return [_score(task, found) for task in tasks]


def _score(task: str, found: dict[str, Any]) -> dict[str, Any]:
    figures = {name.partition(",")[0]: value for name, value in found["results"][task].items()}
    metric = next((each for each in METRICS if each in figures), None)
    n = found["n-samples"].get(task, {}).get("effective")
    if metric is None or not n:
        raise RecipeError(f"The task {task!r} has none of the figures {', '.join(METRICS)}; leave it out.")
    return {"task": task, "metric": metric, "estimate": list(share_interval(figures[metric] * n, n)), "n": n}


@lru_cache(maxsize=1)  # listing the tasks takes seconds
def _manager(folder: str | None) -> Any:
    if importlib.util.find_spec("lm_eval") is None:
        raise MissingExtraError(
            "Tasks of the LM evaluation harness need the package lm-eval; run: pip install lm-eval."
        )
    if folder is not None and not Path(folder).is_dir():
        raise RecipeError(f"There is no folder {folder} of task files.")
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder)

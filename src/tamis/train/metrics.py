"""The stream of a training run's measurements: ``metrics.jsonl``, TensorBoard, and a callback."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tamis.errors import MissingExtraError, RecipeError
from tamis.runs.atomic import atomic_write_text

FILE = "metrics.jsonl"


class MetricsStream:
    """Where the measurements of each step go. A resumed run continues the file that the first one began.

    Parameters
    ----------
    folder : Path or None
        Where ``metrics.jsonl`` lies, and the log in ``tensorboard/``; None for neither.
    after : int
        The last step whose lines stay; what was written after the checkpoint that a run resumes from is done again.
        -1 for none.
    tensorboard : bool, default False
    on_metrics : callable, optional
        Called with each line.

    Raises
    ------
    RecipeError
        If TensorBoard is asked for without a folder.
    MissingExtraError
        If it is not installed.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> MetricsStream(folder, after=-1).write({"step": 1, "loss": 0.5})
    >>> MetricsStream(folder, after=0).write({"step": 1, "loss": 0.5})
    >>> print((folder / FILE).read_text(), end="")
    {"step": 1, "loss": 0.5}
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        after: int,
        tensorboard: bool = False,
        on_metrics: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._file = None if folder is None else folder / FILE
        self._on_metrics = on_metrics
        self._board = _summary_writer(folder, after) if tensorboard else None
        if self._file is not None:
            lines = self._file.read_text(encoding="utf-8").splitlines(keepends=True) if self._file.exists() else []
            atomic_write_text(self._file, "".join(line for line in lines if _stays(line, after)))

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Add one line, which has a ``step``."""
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(metrics, allow_nan=False) + "\n")
        if self._board is not None:
            for name in metrics.keys() - {"step"}:
                self._board.add_scalar(name, metrics[name], metrics["step"])
        if self._on_metrics is not None:
            self._on_metrics(dict(metrics))

    def close(self) -> None:
        """Write out what TensorBoard holds back."""
        if self._board is not None:
            self._board.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a training's ``metrics.jsonl``, those before an interruption included."""
    return [json.loads(line) for line in (folder / FILE).read_text(encoding="utf-8").splitlines()]


def _stays(line: str, after: int) -> bool:
    """Whether a line is whole, and of a step up to ``after``."""
    return line.endswith("}\n") and int(json.loads(line)["step"]) <= after


def _summary_writer(folder: Path | None, after: int) -> Any:
    if folder is None:
        raise RecipeError("A TensorBoard log needs a folder; pass folder=... to train, or tensorboard=False.")
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError("A TensorBoard log needs the package tensorboard; run: pip install tensorboard.")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(log_dir=str(folder / "tensorboard"), purge_step=after + 1)

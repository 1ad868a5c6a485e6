"""``tamis forget demo``: real digits, a network trained on them, a tenth forgotten, compared with training anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.console import JsonOption, guarded
from tamis.cli.forget import start_forgetting
from tamis.cli.options import QuietOption, SeedOption


@guarded
def demo(
    out: Annotated[Path, typer.Option(help="Run directory; its world goes beside it.")] = Path("runs/forget-demo"),
    seeds: Annotated[int, typer.Option(help="Times that it forgets, and is trained anew.")] = 3,
    seed: SeedOption = 0,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Train a network on scikit-learn's digits, let it forget a tenth of them, and compare with training anew."""
    from tamis.toy.digits import digits_world

    world = digits_world(out.with_name(f"{out.name}-world"), seed=seed)
    inputs = {role: str(path.absolute()) for role, path in world.items() if role != "model"}
    params = {"model": str(world["model"].absolute()), "share": 0.1, "retrain": True, "seeds": seeds}
    return start_forgetting(params, inputs, out=out, dry_run=False, seed=seed, quiet=quiet, json_=json_)

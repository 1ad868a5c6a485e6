"""``tamis forget``: make a trained classifier forget, and show how close it comes to one trained anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.console import JsonOption, guarded
from tamis.cli.default_command import falling_back_to
from tamis.cli.options import IdColumnOption, QuietOption, SeedOption, listed

HELP_WHAT = "What is to be forgotten (one of these)"
HELP_HOW = "How"
HELP_COMPARED = "Compared with"
HELP_HF = "Texts and images, for models of transformers"

app = typer.Typer(
    cls=falling_back_to("edit"),
    no_args_is_help=True,
    help="Make a trained classifier forget: 'tamis forget MODEL --data FILE --class 3'; 'tamis forget edit --help' "
    "shows its options, 'tamis forget demo' does it on real digits, 'tamis forget verify RUN' checks a certificate.",
)


@guarded
def edit(
    model: Annotated[str, typer.Argument(help="Folder of a classifier: classifier.json or config.json, safetensors.")],
    data: Annotated[Path, typer.Option(help="What it was trained on: CSV, JSONL, Parquet, or .npz with x and y.")],
    class_: Annotated[
        str | None, typer.Option("--class", help="Whole classes, with commas.", rich_help_panel=HELP_WHAT)
    ] = None,
    share: Annotated[float | None, typer.Option(help="A random share, such as 0.1.", rich_help_panel=HELP_WHAT)] = None,
    where: Annotated[str | None, typer.Option(help="COLUMN=VALUE.", rich_help_panel=HELP_WHAT)] = None,
    ids: Annotated[
        Path | None, typer.Option(help="File of ids: lines, or a column id.", rich_help_panel=HELP_WHAT)
    ] = None,
    selection: Annotated[
        Path | None,
        typer.Option(help="Run or Selection of another method: what it dropped or flagged.", rich_help_panel=HELP_WHAT),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="ugradsl+, ugradsl, fine-tune, ascent, neggrad+, random-labels, l1-sparse, salun, scrub, bad-teacher.",
            rich_help_panel=HELP_HOW,
        ),
    ] = "ugradsl+",
    alpha: Annotated[
        str | None,
        typer.Option(help="Smoothing rate below 0, or paper, deniability (default: -0.5).", rich_help_panel=HELP_HOW),
    ] = None,
    p: Annotated[
        float | None, typer.Option(help="Weight of the descent (default: 0.9 or 0.97).", rich_help_panel=HELP_HOW)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Default: by method and request.", rich_help_panel=HELP_HOW)
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="At most (default: by method).", rich_help_panel=HELP_HOW)
    ] = None,
    repair: Annotated[
        float | None,
        typer.Option(
            help="Epochs of descent alone that follow on UGradSL (default: 1 or 2 for classes, else 0).",
            rich_help_panel=HELP_HOW,
        ),
    ] = None,
    batch_rows: Annotated[int | None, typer.Option(help="Default: 64.", rich_help_panel=HELP_HOW)] = None,
    clip: Annotated[
        float | None, typer.Option(help="Largest gradient norm of a step (default: 5).", rich_help_panel=HELP_HOW)
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep",
            help="Choose alpha, p and learning rate from a small grid, by held-out examples.",
            rich_help_panel=HELP_HOW,
        ),
    ] = False,
    held_out: Annotated[
        Path | None, typer.Option(help="Examples it was not trained on, to stop by.", rich_help_panel=HELP_HOW)
    ] = None,
    aim: Annotated[
        float | None,
        typer.Option(
            help="Accuracy on what is to be forgotten to aim at: 0 for wrong labels (default: as on held-out).",
            rich_help_panel=HELP_HOW,
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Examples that nothing has seen, to measure with.", rich_help_panel=HELP_COMPARED),
    ] = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train a model anew to compare with.", rich_help_panel=HELP_COMPARED)
    ] = False,
    retrain_epochs: Annotated[
        float | None, typer.Option(help="Default: as classifier.json says.", rich_help_panel=HELP_COMPARED)
    ] = None,
    retrain_learning_rate: Annotated[
        float | None, typer.Option(help="Default: as classifier.json says.", rich_help_panel=HELP_COMPARED)
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(help="Other methods to try beside it, with commas, or all.", rich_help_panel=HELP_COMPARED),
    ] = None,
    retrain_batch_rows: Annotated[
        int | None, typer.Option(help="Default: as classifier.json says.", rich_help_panel=HELP_COMPARED)
    ] = None,
    retrain_optimizer: Annotated[
        str | None,
        typer.Option(
            help="adamw or sgd (default: as classifier.json says; adamw for models of transformers, else sgd).",
            rich_help_panel=HELP_COMPARED,
        ),
    ] = None,
    retrain_from: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint that the model was fine-tuned from (default: random weights).",
            rich_help_panel=HELP_COMPARED,
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Times that it forgets, and is trained anew.", rich_help_panel=HELP_COMPARED)
    ] = 1,
    network: Annotated[
        str | None, typer.Option(help="MODULE:FUNCTION that makes the network of your weights.", show_default=False)
    ] = None,
    label: Annotated[str, typer.Option(help="Column of labels.")] = "label",
    text: Annotated[str | None, typer.Option(help="Column of texts (default: text).", rich_help_panel=HELP_HF)] = None,
    image: Annotated[
        str | None,
        typer.Option(
            help="Column of paths of images, relative to the table (default: image).", rich_help_panel=HELP_HF
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            help="Tokens after which a text is cut (default: what the model takes, at most 512).",
            rich_help_panel=HELP_HF,
        ),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Column of groups, to compare accuracies by.")] = None,
    id_column: IdColumnOption = None,
    out: Annotated[Path | None, typer.Option(help="Run directory (default: runs/forget-MODEL-HASH).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    seed: SeedOption = 0,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Edit the weights so that the model behaves as if it had not seen some examples, and measure how that went."""
    from tamis.errors import RecipeError

    if ids is not None and selection is not None:
        raise RecipeError("Give --ids or --selection, not both.")
    params: dict[str, Any] = {
        "model": str(Path(model).expanduser().absolute()), "network": network, "label": label, "id_column": id_column,
        "text": text, "image": image, "max_length": max_length, "group": group,
        "classes": None if class_ is None else listed(class_), "share": share, "where": where,
        "method": method, "compare": None if compare is None else listed(compare), "alpha": _number(alpha), "p": p,
        "learning_rate": learning_rate, "epochs": epochs, "repair": repair,
        "batch_rows": batch_rows, "clip": clip, "aim": aim, "sweep": sweep or None, "retrain": retrain or None,
        "retrain_epochs": retrain_epochs, "retrain_learning_rate": retrain_learning_rate,
        "retrain_batch_rows": retrain_batch_rows, "retrain_optimizer": retrain_optimizer,
        "retrain_from": None if retrain_from is None else str(retrain_from.expanduser().absolute()), "seeds": seeds,
    }  # fmt: skip
    if selection is not None and selection.is_dir():
        selection = selection / "selection.parquet"  # the rest of a run may be drawn anew
    files = {"data": data, "test": test, "held_out": held_out, "forget": ids or selection}
    inputs = {role: str(path.expanduser().absolute()) for role, path in files.items() if path is not None}
    return start_forgetting(params, inputs, out=out, dry_run=dry_run, seed=seed, quiet=quiet, json_=json_)


@guarded
def verify(
    run: Annotated[Path, typer.Argument(help="Run directory of tamis forget.")],
    files_only: Annotated[bool, typer.Option("--files-only", help="Do not run the models again.")] = False,
    network: Annotated[
        str | None, typer.Option(help="MODULE:FUNCTION that makes the network, if the run was told so.")
    ] = None,
    json_: JsonOption = False,
) -> int:
    """Recompute the digests and metrics of a certificate and run its models again; exit code 2 if something differs."""
    from tamis.cli.console import print_json
    from tamis.forget.certificate import verify as verify_certificate

    found = verify_certificate(run, files_only=files_only, network=network)
    if json_:
        print_json(found)
        return 0 if found["holds"] else 2
    wrong = [check for check in found["checks"] if not check["holds"]]
    for check in wrong:
        typer.echo(f"differs: {check['what']}: expected {check['expected']}, got {check['got']}", err=True)
    for each in found["not_checked"]:
        typer.echo(f"not checked: {each}", err=bool(wrong))
    if wrong:
        typer.echo(
            f"tamis: the certificate of {run} does not hold: {len(wrong)} of {len(found['checks'])} checks differ.",
            err=True,
        )
        return 2
    ran = any(check["what"].startswith("predictions of") for check in found["checks"])
    kinds = "files, metrics and predictions" if ran else "files and metrics"
    typer.echo(f"the certificate of {run} holds: {len(found['checks'])} checks of {kinds}")
    return 0


def start_forgetting(
    params: dict[str, Any],
    inputs: dict[str, str],
    *,
    out: Path | None,
    dry_run: bool,
    seed: int,
    quiet: bool,
    json_: bool,
) -> int:
    """Start a forget run, or show its plan."""
    from tamis.cli.execute import Running, start_and_execute
    from tamis.cli.plan import show_plan
    from tamis.forget.forget_recipe import ForgetRecipe
    from tamis.recipe import Recipe

    given = {name: value for name, value in params.items() if value is not None}
    recipe = Recipe(method="forget", inputs=inputs, params=given, seed=seed)
    ForgetRecipe.of(recipe)  # before a folder is made
    if dry_run:
        return show_plan(recipe, json_=json_)
    running = Running(engine="inline", workers=None, address=None, quiet=quiet, json_=json_)
    return start_and_execute(recipe, out=out, running=running)


def outcome(summary: dict[str, Any]) -> str:
    """Return the summary of a forget run as text."""
    metrics = summary["metrics"]
    lines = [f"{summary['model_name']}: {summary['forget']:,} of {summary['rows']:,} examples to be forgotten by "
             f"{summary['method']}; {summary['reasons'][0]}"]  # fmt: skip
    names = {"original": "before", "edited": "after", "retrained": "trained anew"}
    for name in metrics["edited"]:
        values = (f"{words} {sum(metrics[model][name]) / len(metrics[model][name]):.1f}"
                  for model, words in names.items() if model in metrics)  # fmt: skip
        row = next(each for each in summary["evidence"] if each["metric"] == name and each["group"] == "edited")
        lines.append(f"  {name:<4} {', '.join(values)}  (after: {row['low']:.1f} to {row['high']:.1f})")
    gap = summary["gap"]
    if gap is not None:
        row = next(each for each in summary["evidence"] if each["metric"].startswith("average gap"))
        took = next(each for each in summary["evidence"] if each["metric"].startswith("time / "))
        lines.append(
            f"  average gap to training anew {gap['average']:.2f} points ({row['low']:.2f} to {row['high']:.2f}), "
            f"before {gap['original']:.2f}; {took['after']:.0%} of its time"
        )
    others = [
        row for row in summary["evidence"] if row["metric"].startswith("average gap") and row["group"] != "edited"
    ]
    lines += [f"  {row['group']}: average gap {row['after']:.2f} points ({row['low']:.2f} to {row['high']:.2f})"
              for row in others]  # fmt: skip
    lines += [f"  - {warning}" for warning in summary["warnings"]]
    lines += [f"  cannot say: {each}" for each in summary["proof"]["cannot"]]
    return "\n".join([*lines, f"model       {summary['model']}", f"certificate {summary['certificate']}",
                      f"report      {summary['report']}"])  # fmt: skip


def _number(value: str | None) -> float | str | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return value

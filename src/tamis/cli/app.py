"""The command-line application: its verbs, and how errors become sentences and exit codes."""

from __future__ import annotations

import typer

from tamis.cli import (
    curate,
    demo,
    diff,
    doctor,
    export,
    forget,
    forget_demo,
    methods,
    peers,
    peers_follow,
    peers_simulate,
    plan,
    prune,
    rate,
    report,
    resume,
    run,
    status,
    tokens,
    train,
    why,
)

EPILOG = (
    "Exit codes: 0 ok, 1 our bug, 2 recipe or data error, 3 incomplete (resume), 4 budget reached, "
    "5 back-end unreachable, 130 interrupted."
)

app = typer.Typer(
    name="tamis",
    help="Find what cannot be trusted in training data and models, take it out, and keep the evidence.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("rate")(rate.rate)
app.command("curate")(curate.curate)
app.command("tokens")(tokens.tokens)
app.command("train")(train.train)
app.command("export")(export.export)
peers.app.command("audit")(peers.audit)
peers.app.command("simulate")(peers_simulate.simulate)
peers.app.command("follow")(peers_follow.follow)
app.add_typer(peers.app, name="peers")
prune.app.command("cut")(prune.cut)
prune.app.command("scores")(prune.scores)
app.add_typer(prune.app, name="prune")
forget.app.command("edit")(forget.edit)
forget.app.command("verify")(forget.verify)
forget.app.command("demo")(forget_demo.demo)
app.add_typer(forget.app, name="forget")
app.command("plan")(plan.plan)
app.command("run")(run.run)
app.command("resume")(resume.resume)
app.command("status")(status.status)
app.command("why")(why.why)
app.command("diff")(diff.diff)
app.command("report")(report.report)
app.command("methods")(methods.methods)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        from tamis import __version__

        typer.echo(f"tamis {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    app()

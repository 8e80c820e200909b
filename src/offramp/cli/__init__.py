"""The command line: parses, calls, prints."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

# Read when torch is loaded. Waiting threads that spin starve whatever else runs on the same cores, and a supernet has
# more convolution shapes than oneDNN keeps by default.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "20000")

import typer

from offramp.cli._architecture import cost, sample
from offramp.cli._devices import devices
from offramp.cli._network import evaluate, export, guarantee, predict, quantize, tune
from offramp.cli._options import version
from offramp.cli._print import stderr
from offramp.cli._recipe import init, recipes, validate
from offramp.cli._run import front, run

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
app.callback()(version)
for _command in (
    run,
    recipes,
    init,
    validate,
    front,
    cost,
    quantize,
    export,
    evaluate,
    tune,
    guarantee,
    predict,
    sample,
):
    app.command()(_command)
app.add_typer(devices, name="devices")


def main() -> None:
    """Run the command line; errors that a user can mend end with their message, not with a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name that the terminal cannot show must not end a run
            stream.reconfigure(errors="replace")
    try:
        app()
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        if os.environ.get("OFFRAMP_TRACEBACK"):
            raise
        stderr.print("[red]error:[/red]", end=" ")
        stderr.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)

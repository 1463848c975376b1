"""The command line's options. Nothing of the engine is imported here, so that --help and --version are quick."""

from __future__ import annotations

import argparse
from typing import Any

FORMATS = ("box", "table", "markdown", "line", "csv", "tsv", "json", "jsonl", "parquet", "arrow", "none")

_EPILOG = """\
examples:
  sqlengine -c "select count(*) from 'data/*.parquet'"
  sqlengine -m 512MB report.sql -o report.csv
  sqlengine -v since=2024-01-01 -c "select * from 'log.csv' where day >= \\$since::date"
  echo "select 42" | sqlengine --json
  sqlengine --dry-run --fail-over-memory 1GB job.sql

exit codes:
  0 ok   1 SQL or execution error   2 usage, configuration, missing file   3 backend cannot start   4 timeout
  5 memory or spill limit   130 interrupted   141 output closed
"""


class _InOrder(argparse.Action):
    """-c and -f keep their order on the command line."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        namespace.inputs = [*(namespace.inputs or []), (self.dest, values)]


def _result(text: str) -> str:
    if text in ("all", "last") or (text.isdigit() and int(text) > 0):
        return text
    raise argparse.ArgumentTypeError(f"all, last or the number of a result, not {text!r}")


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text!r}")
    return name.strip(), value


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return value


def parser() -> argparse.ArgumentParser:
    """The parser of `sqlengine`."""
    made = argparse.ArgumentParser(
        prog="sqlengine",
        description="SQL that never runs out of memory. Without input on a terminal it opens a prompt.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("files", nargs="*", metavar="FILE.sql", help="scripts to run, in one session")

    def option(group: Any, *names: str, **settings: Any) -> None:
        group.add_argument(*names, **settings)

    run = made.add_argument_group("run")
    option(run, "-c", "--command", action=_InOrder, metavar="SQL", help="run statements (repeatable)")
    option(run, "-f", "--file", action=_InOrder, metavar="PATH", help="run a script, - for standard input (repeatable)")
    option(run, "-i", "--interactive", action="store_true", help="open a prompt afterwards")
    output = made.add_argument_group("output")
    option(output, "-o", "--output", metavar="PATH", help="write results here, complete or not at all")
    option(output, "--format", choices=FORMATS, help="default: box on a terminal, from the name with -o, else csv")
    for name in ("csv", "json", "jsonl", "markdown"):
        option(
            output, f"--{name}", dest="format", action="store_const", const=name, help=f"the same as --format {name}"
        )
    option(output, "-x", "--expanded", dest="format", action="store_const", const="line", help="one column a line")
    option(output, "-t", "--tuples-only", action="store_true", help="rows alone: no header, no footer")
    option(output, "--no-header", action="store_true", help="no line of names")
    option(output, "--null-string", metavar="TEXT", help="shown for NULL (default: NULL in a box, nothing in csv)")
    option(output, "--max-rows", type=int, default=40, metavar="N", help="rows shown in a box (default 40)")
    option(output, "--result", type=_result, default="all", metavar="all|last|N", help="which results are shown")
    option(output, "--echo", action="store_true", help="show each statement on standard error before it runs")
    option(output, "-q", "--quiet", action="store_true", help="no banner, no footer of the prompt")
    source = made.add_argument_group("input")
    option(
        source, "-v", "--set", dest="variables", action="append", default=[], type=_pair, metavar="NAME=VALUE",
        help="the value of $NAME: 5, 1.5, true, null, 'text' (repeatable)",
    )  # fmt: skip
    option(source, "--udf", action="append", default=[], metavar="FILE.py|MODULE", help="load functions (repeatable)")
    engine = made.add_argument_group("engine")
    option(engine, "-m", "--memory-limit", metavar="SIZE", help="bound on resident memory, such as 2GB")
    option(engine, "-j", "--threads", metavar="N", help="tasks at the same time")
    option(engine, "--spill-dir", action="append", metavar="DIR", help="directory for spill files (repeatable)")
    option(engine, "--spill-limit", metavar="SIZE", help="most bytes of spill files")
    option(engine, "--backend", choices=("local", "ray"), help="where queries run (default local)")
    option(engine, "--ray-address", metavar="ADDRESS", help="of the Ray cluster; default: one that is started here")
    option(
        engine,
        "--option",
        action="append",
        default=[],
        type=_pair,
        metavar="K=V",
        help="any other setting (repeatable)",
    )
    control = made.add_argument_group("control")
    option(
        control, "--on-error", choices=("stop", "continue"), default="stop", help="after a statement that fails (stop)"
    )
    option(control, "--timeout", type=_seconds, metavar="SECONDS", help="end everything after this time")
    option(control, "--dry-run", action="store_true", help="bind every statement and show what its queries would take")
    option(
        control, "--fail-over-memory", metavar="SIZE", help="exit 5 before a query predicted to take more memory runs"
    )
    option(
        control, "--safe", action="store_true",
        help="for SQL of strangers: no shell, Python, writes or network, files only below --root, settings locked",
    )  # fmt: skip
    option(control, "--root", action="append", metavar="DIR", help="with --safe: files below DIR are read (repeatable)")
    report = made.add_argument_group("report")
    shown = ("auto", "always", "never")
    option(
        report, "--progress", choices=shown, default="auto", help="what long queries have done (auto: on a terminal)"
    )
    option(
        report, "--color", choices=shown, default="auto", help="auto: on a terminal, NO_COLOR and FORCE_COLOR obeyed"
    )
    option(report, "--stats", action="store_true", help="one JSON line on standard error at the end")
    option(report, "--error-format", choices=("text", "json"), default="text", help="how errors are shown")
    option(
        report, "--log-level", choices=("debug", "info", "warning", "error"), help="log to standard error from here on"
    )
    option(report, "--debug", action="store_true", help="show Python tracebacks of errors")
    other = made.add_argument_group("other")
    option(other, "--init", metavar="FILE", help="a script that runs first")
    option(other, "--no-init", action="store_true", help="read neither config.toml nor init.sql of the user")
    option(other, "--config", metavar="FILE", help="settings from this TOML file instead of the user's")
    option(other, "-V", "--version", action="store_true", help="show the version")
    made.set_defaults(inputs=None)
    return made

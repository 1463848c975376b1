"""`sqlengine [OPTIONS] [FILE.sql ...]`: run statements from files, `-c` or standard input; on a terminal, a prompt.

Exit codes: 0 ok, 1 SQL or execution error, 2 usage or missing file, 5 memory or spill limit, 130 interrupted, 141 output closed.
Imports of the engine wait until they are needed, so that --help and --version are quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlengine.session import Session

_EPILOG = """\
examples:
  sqlengine -c "select count(*) from 'data/*.parquet'"
  sqlengine -m 512MB report.sql
  echo "select 42" | sqlengine --csv

exit codes:
  0 ok   1 SQL or execution error   2 usage or missing file   5 memory or spill limit   130 interrupted   141 output closed
"""


class _InOrder(argparse.Action):
    """-c and -f keep their order on the command line."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        namespace.inputs = [*(namespace.inputs or []), (self.dest, values)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sqlengine", description="SQL that never runs out of memory.", epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("files", nargs="*", metavar="FILE.sql", help="scripts to run, in one session")
    run = parser.add_argument_group("run")
    run.add_argument("-c", "--command", action=_InOrder, metavar="SQL", help="run statements (repeatable)")
    run.add_argument(
        "-f", "--file", action=_InOrder, metavar="PATH", help="run a script, - for standard input (repeatable)"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--format", choices=("box", "csv", "jsonl"), help="default: box on a terminal, csv elsewhere")
    output.add_argument("--csv", dest="format", action="store_const", const="csv", help="the same as --format csv")
    output.add_argument(
        "--jsonl", dest="format", action="store_const", const="jsonl", help="the same as --format jsonl"
    )
    output.add_argument("--max-rows", type=int, default=40, metavar="N", help="rows shown in a box (default 40)")
    engine = parser.add_argument_group("engine")
    engine.add_argument("-m", "--memory-limit", metavar="SIZE", help="bound on resident memory, such as 2GB")
    engine.add_argument("-j", "--threads", metavar="N", help="tasks at the same time")
    engine.add_argument("--spill-dir", metavar="DIR", help="directory for spill files")
    engine.add_argument("--spill-limit", metavar="SIZE", help="most bytes of spill files")
    engine.add_argument("--option", action="append", default=[], metavar="K=V", help="any other setting (repeatable)")
    other = parser.add_argument_group("other")
    other.add_argument("--debug", action="store_true", help="show Python tracebacks of errors")
    other.add_argument("-V", "--version", action="store_true", help="show the version")
    parser.set_defaults(inputs=None)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(argv)
    if options.version:
        from sqlengine import __version__

        print(f"sqlengine {__version__}")
        return 0
    from sqlengine.errors import Error, InterfaceError, Interrupted, MemoryLimitError, SpillError

    try:
        return _run(options)
    except Error as error:
        if options.debug:
            raise
        print(error.render(), file=sys.stderr)
        if isinstance(error, MemoryLimitError | SpillError):
            return 5
        if isinstance(error, Interrupted):
            return 130
        return 2 if isinstance(error, InterfaceError) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone; nothing more may be written to it, not even by the interpreter at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(options: argparse.Namespace) -> int:
    from sqlengine import connect
    from sqlengine.cli.render import FORMATS

    inputs: list[tuple[str, str]] = [*(options.inputs or []), *(("file", name) for name in options.files)]
    texts = []
    for kind, value in inputs:
        if kind == "command":
            texts.append((value, "<command>"))
            continue
        try:
            texts.append((sys.stdin.read(), "<stdin>") if value == "-" else (_read(value), value))
        except OSError as error:
            print(f"error[file_not_found]: cannot read {value}: {error.strerror}", file=sys.stderr)
            return 2
    settings = dict(pair.split("=", 1) if "=" in pair else (pair, "") for pair in options.option)
    for name in ("memory_limit", "threads", "spill_dir", "spill_limit"):
        if getattr(options, name) is not None:
            settings[name] = getattr(options, name)
    terminal = sys.stdout.isatty()
    show = FORMATS[options.format or ("box" if terminal else "csv")]
    with connect(**settings) as session:
        if not texts:
            if sys.stdin.isatty():
                return _prompt(session, options.max_rows)
            texts.append((sys.stdin.read(), "<stdin>"))
        for text, source in texts:
            for relation in session.script(text, source):
                if not relation.is_status:
                    show(relation, sys.stdout, options.max_rows)
        sys.stdout.flush()
    return 0


def _read(path: str) -> str:
    with open(path, encoding="utf-8-sig") as file:
        text = file.read()
    # A first line `#!...` makes a script runnable; it stays as a comment so that line numbers hold.
    return "--" + text if text.startswith("#!") else text


def _prompt(session: Session, max_rows: int) -> int:
    from sqlengine.cli.prompt import prompt

    return prompt(session, max_rows)

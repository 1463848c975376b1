"""`sqlengine [OPTIONS] [FILE.sql ...]`: run statements from files, `-c` or standard input; on a terminal, a prompt.

Here the options become a session and a runner, and whatever happens becomes an exit code (`runner.exit_code`).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

from sqlengine.cli.arguments import FORMATS, parser
from sqlengine.cli.colors import colored_error, is_colored

if TYPE_CHECKING:
    import argparse

    from sqlengine.cli.runner import Runner
    from sqlengine.cli.script import Item
    from sqlengine.session import Session

_ENDINGS = {
    ".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet",
    ".arrow": "arrow", ".md": "markdown", ".txt": "table",
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parser().parse_args(argv)
    if options.version:
        from sqlengine import __version__

        print(f"sqlengine {__version__}")
        return 0
    try:
        code = _run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return _closed()
    except _Failed as failed:
        return failed.code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        return _shown(error, options)


def _shown(error: Exception, options: argparse.Namespace) -> int:
    """An error that ended everything, on standard error; the exit code."""
    from sqlengine.cli.render import error_json
    from sqlengine.cli.runner import as_error, exit_code
    from sqlengine.errors import FileError

    if isinstance(error, OSError) and not hasattr(error, "render"):
        error = FileError(f"cannot write the output: {error.strerror}", code="output_error")
        _closed()
    shown = as_error(error)
    if options.debug:
        import traceback

        traceback.print_exception(error)
    text = shown.render()
    if is_colored(options.color, sys.stderr):
        text = colored_error(text)
    print(error_json(shown) if options.error_format == "json" else text, file=sys.stderr)
    return exit_code(shown)


def _closed() -> int:
    """Whoever read the output has gone; nothing more may be written to it, not even by the interpreter at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _run(options: argparse.Namespace) -> int:
    from sqlengine.cli.runner import Counts

    counts = Counts()
    if options.log_level:
        import logging

        logging.basicConfig(level=options.log_level.upper(), stream=sys.stderr, format="%(levelname)s %(message)s")
    inputs: list[tuple[str, str]] = [*(options.inputs or []), *(("file", name) for name in options.files)]
    prompt = options.interactive or (not inputs and sys.stdin.isatty())
    if not inputs and not prompt:
        inputs.append(("file", "-"))
    with _session(options) as session:
        items = _items(options, session, inputs, prompt)
        with _output(options) as stream:
            runner = _runner(options, session, stream, counts)
            try:
                code = runner.run(items) or runner.finish()
                if prompt and not (code and not options.interactive):
                    from sqlengine.cli.preferences import apply_preferences
                    from sqlengine.cli.prompt import prompt as read_and_run
                    from sqlengine.settings import read_config

                    config = _config(options)
                    if config is not None:
                        apply_preferences(runner, read_config(config).get("prompt", {}))
                    code = read_and_run(runner, options.quiet, is_colored(options.color, sys.stdout))
            except BaseException:
                if options.stats:
                    print(counts.line(session, "error"), file=sys.stderr)
                raise
            finally:
                runner.close()
            if options.stats:
                print(counts.line(session, "error" if code else "ok"), file=sys.stderr)
            if code and options.output:
                raise _Failed(code)
    return code


def _items(options: argparse.Namespace, session: Session, inputs: list[tuple[str, str]], prompt: bool) -> list[Item]:
    """All that is to be run before a prompt opens, parsed."""
    from sqlengine.access import check_readable
    from sqlengine.cli.script import load_file, load_text

    def may_read(path: str) -> None:
        check_readable(session.current, path)

    items: list[Item] = []
    if options.init:
        items += _script(options.init, may_read)
    elif prompt and not options.no_init and os.path.exists(_user_file("init.sql")):
        items += load_file(_user_file("init.sql"))
    for kind, value in inputs:
        if kind == "command":
            items += load_text(value, "<command>", may_read=may_read)
        elif value == "-":
            items += load_text(sys.stdin.read(), "<stdin>", may_read=may_read)
            session.input_taken = "the script"
        else:
            items += _script(value, may_read)
    if prompt:
        session.input_taken = "the prompt"
    return items


class _Failed(Exception):
    """Leaves the output file unmade; the errors have been shown."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _script(path: str, may_read: Callable[[str], None]) -> list[Item]:
    from sqlengine.cli.script import load_file
    from sqlengine.errors import FileError

    try:
        return load_file(path, may_read=may_read)
    except FileError as error:
        if error.location is None:
            raise FileError(error.message, code="script_not_found", hint=error.hint) from None
        raise


@contextlib.contextmanager
def _session(options: argparse.Namespace) -> Iterator[Session]:
    from sqlengine.dry_run import DrySession
    from sqlengine.session import Session

    settings: dict[str, Any] = dict(options.option)
    for name in (
        "memory_limit", "threads", "spill_dir", "spill_limit", "fail_over_memory", "backend", "ray_address", "root",
    ):  # fmt: skip
        if getattr(options, name) is not None:
            settings[name] = getattr(options, name)
    if options.safe:
        settings["safe"] = True
    config = _config(options)
    with (DrySession if options.dry_run else Session)(config=config, **settings) as session:
        for place in options.udf:
            session.load(place)
        yield session


def _config(options: argparse.Namespace) -> str | None:
    """The configuration file: the one given, or that of the user."""
    found: str | None = options.config
    if found is None and not options.no_init and os.path.exists(_user_file("config.toml")):
        return _user_file("config.toml")
    return found


def _user_file(name: str) -> str:
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "sqlengine", name)


@contextlib.contextmanager
def _output(options: argparse.Namespace) -> Iterator[IO[bytes]]:
    from sqlengine.cli.runner import output_file

    if options.output is None:
        yield sys.stdout.buffer
        return
    with output_file(options.output) as stream:
        yield stream


def _runner(options: argparse.Namespace, session: Session, stream: IO[bytes], counts: Any) -> Runner:
    import time

    from sqlengine.cli.progress import progress_display
    from sqlengine.cli.render import Look, Out
    from sqlengine.cli.runner import Runner
    from sqlengine.parameters import bound_parameters, from_text
    from sqlengine.text_box import terminal_width

    terminal = options.output is None and sys.stdout.isatty()
    chosen = options.format
    if chosen is None and options.output is not None:
        chosen = _ENDINGS.get(os.path.splitext(options.output)[1].lower())
    chosen = chosen or ("box" if terminal else "csv")
    assert chosen in FORMATS
    look = Look(
        chosen,
        header=not (options.no_header or options.tuples_only),
        footer=not options.tuples_only,
        null=options.null_string,
        max_rows=max(1, options.max_rows),
        max_width=terminal_width() if terminal else 0,
        color=options.output is None and is_colored(options.color, sys.stdout),
    )
    values = {name: from_text(word) for name, word in options.variables}
    return Runner(
        session,
        Out(stream, sys.stdout.isatty() if options.output is None else False),
        look,
        bound_parameters(values),
        result=options.result,
        on_error=options.on_error,
        echo=options.echo,
        error_format=options.error_format,
        debug=options.debug,
        deadline=None if options.timeout is None else time.monotonic() + options.timeout,
        counts=counts,
        color=is_colored(options.color, sys.stderr),
        progress=progress_display(options.progress, session),
    )

"""`crvae3d VERB ...`: parse, run, and turn what went wrong into one sentence."""

import argparse
import os
import sys
from difflib import get_close_matches
from importlib.metadata import version
from typing import NoReturn

from crvae3d.cli import compare, data, demo, embed, evaluate, reconstruct, train
from crvae3d.errors import Diverged, InputError

VERBS = {
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "embed": embed,
    "reconstruct": reconstruct,
    "data": data,
    "demo": demo,
}


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that names the nearest option or value where one is unknown."""

    def __init__(self, **settings: object) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings)

    def parse_args(self, args: list[str] | None = None, namespace: None = None) -> argparse.Namespace:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser = self.of_verb(getattr(parsed, "verb", None), getattr(parsed, "action", None))
            known = [name for action in parser._actions for name in action.option_strings]
            near = get_close_matches(unknown[0].split("=")[0], known, n=1, cutoff=0.5)
            parser.error(f"unknown argument {unknown[0]!r}" + (f": did you mean {near[0]}?" if near else ""))
        return parsed

    def of_verb(self, *names: str | None) -> "Parser":
        """The parser of `crvae3d VERB [ACTION]`."""
        parser = self
        for name in names:
            for action in parser._actions:
                if isinstance(action, argparse._SubParsersAction) and name in action.choices:
                    parser = action.choices[name]
        return parser

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            near = get_close_matches(str(value), list(action.choices), n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise argparse.ArgumentError(
                action, f"unknown value {value!r}: {hint}known are {', '.join(action.choices)}"
            )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parser() -> Parser:
    """The parser of every verb."""
    top = Parser(prog="crvae3d", description="Consistent representations of 3D shapes without labels.", epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"crvae3d {version('crvae3d')}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, module in VERBS.items():
        says = module.__doc__.splitlines()[0]
        verb = verbs.add_parser(name, help=says, description=module.__doc__)
        module.add_arguments(verb)
    return top


EPILOG = """a first session:
  crvae3d demo                                  train and compare two small models, open the page
  crvae3d train modelnet10 --out runs/cr        train the default CR-VAE on ModelNet10
  crvae3d evaluate runs/cr                      accuracy of frozen codes, beside the controls
  crvae3d embed runs/cr my_meshes -o codes.npz  codes of your own shapes
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0; 1 for a training that diverged, 2 for input that cannot be used, 130 after Ctrl-C; 141 where what
        reads the output has ended.
    """
    for stream in (sys.stdout, sys.stderr):  # a file's name need not be text that a terminal can show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    parsed = parser().parse_args(arguments)
    try:
        VERBS[parsed.verb].run(parsed)
        sys.stdout.flush()
    except InputError as error:
        return _say(parsed.verb, error, 2)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 141
        return _say(parsed.verb, f"{error.filename or 'a file'}: {error.strerror or error}", 2)
    except Diverged as error:
        return _say(parsed.verb, error, 1)
    except KeyboardInterrupt:
        return _say(parsed.verb, "stopped", 130)
    return 0


def _nobody_reads() -> bool:
    """Whether standard output goes to a command that has ended, such as `head`; what is left for it is dropped then."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _say(verb: str, message: object, code: int) -> int:
    print(f"crvae3d {verb}: {message}", file=sys.stderr)
    return code

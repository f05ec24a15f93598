"""One mechanism for every setting: a flag, an environment variable, a line in a file, a default.

The first of these that names a setting decides: flag, environment, `--config` file, `.env` file,
default. Faults are gathered and told together.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, cast

from podling import __version__
from podling.boot.assignments import read_assignments
from podling.boot.config_tree import is_tree, read_tree
from podling.core.errors import ConfigurationError
from podling.core.value import value

DOT_ENV = ".env"
CONFIG_VARIABLE = "PODLING_CONFIG"


@value
class Option:
    """A setting. `parse` raises ValueError with a sentence about what is wrong and how to write it.

    A `repeated` option gathers its flags, and takes `separator` between them elsewhere.
    `variables` are looked up in order; the first is the one that messages name.
    """

    field: str
    flag: str
    help: str
    parse: Callable[[str], Any]
    default: Any = None
    variables: tuple[str, ...] = ()
    metavar: str = "TEXT"
    is_switch: bool = False
    repeated: bool = False
    separator: str = ","

    @property
    def names(self) -> tuple[str, ...]:
        """Its environment variables, the preferred one first."""
        return self.variables or ("PODLING_" + self.key.replace("-", "_").upper(),)

    @property
    def key(self) -> str:
        """Its name in a configuration file, which the variables' names stand for as well."""
        return self.flag.removeprefix("--")


def option(flag: str, parse: Callable[[str], Any], help: str, **more: Any) -> Option:
    """Return the setting of this flag; its field has the flag's name unless `more` says otherwise."""
    name = flag.removeprefix("--").replace("-", "_")
    return Option(**cast(dict[str, Any], {"field": name, "flag": flag, "parse": parse, "help": help} | more))


@value
class Program:
    """A program's name, one sentence about it, and its settings."""

    name: str
    description: str
    options: tuple[Option, ...]


@value
class Source:
    """Where settings may stand, with the words that a message uses for the place."""

    place: str
    settings: Mapping[str, str] = field(default_factory=dict)


class Faults:
    """Sentences about what is wrong, gathered until all settings have been read."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.sentences: list[str] = []
        self.fields: set[str] = set()

    def add(self, sentence: str, field: str | None = None) -> None:
        """Note a fault; `field` is the setting's, so that nothing is concluded from its default."""
        self.sentences.append(sentence)
        if field is not None:
            self.fields.add(field)

    def raise_if_any(self) -> None:
        """Raise ConfigurationError with all of them."""
        if not self.sentences:
            return
        if len(self.sentences) == 1:
            text = self.sentences[0]
        else:
            lines = "".join(f"\n  - {sentence}" for sentence in self.sentences)
            text = f"{len(self.sentences)} settings have to be changed:{lines}"
        raise ConfigurationError(text, details={"faults": list(self.sentences)})


def read_options(
    program: Program, argv: Sequence[str], environ: Mapping[str, str], faults: Faults
) -> dict[str, Any]:
    """Return the settings by field. An option with a fault has its default, and the fault is noted.

    `--help` and `--version` print and raise SystemExit(0).
    """
    flags = _flags(program, argv, faults)
    sources = (
        Source(place="in the environment", settings=environ),
        _config_file(program, flags.pop("config") or environ.get(CONFIG_VARIABLE), faults),
        _dot_env(faults),
    )
    return {
        option.field: _resolve(option, flags.get(option.field), sources, faults) for option in program.options
    }


def _flags(program: Program, argv: Sequence[str], faults: Faults) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog=program.name, description=program.description, allow_abbrev=False, exit_on_error=False
    )
    parser.add_argument("--version", action="version", version=f"{program.name} {__version__}")
    parser.add_argument("--config", metavar="FILE", help="a file: `port = 8070`, or YAML, JSON")
    for option in program.options:
        _add_flag(parser, option)
    try:
        known, unknown = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise ConfigurationError(f"{error}; see {program.name} --help") from None
    for word in unknown:
        faults.add(f"{word!r} is not a setting; see {program.name} --help")
    return vars(known)


def _add_flag(parser: argparse.ArgumentParser, option: Option) -> None:
    text = f"{option.help} [{option.names[0]}]".replace("%", "%%")
    if option.is_switch:
        parser.add_argument(option.flag, dest=option.field, action="store_const", const="true", help=text)
    else:
        action = "append" if option.repeated else "store"
        parser.add_argument(option.flag, dest=option.field, metavar=option.metavar, action=action, help=text)


def _config_file(program: Program, path: str | None, faults: Faults) -> Source:
    if not path:
        return Source(place="")
    settings = _read_file(Path(path), "--config", faults)
    known = {name: option for option in program.options for name in (option.key, *option.names)}
    for name in settings:
        if name not in known:
            faults.add(f"{name!r} in {path} is not a setting of {program.name}; see {program.name} --help")
    by_variable = {known[name].names[0]: text for name, text in settings.items() if name in known}
    return Source(place=f"in {path}", settings=by_variable)


def _dot_env(faults: Faults) -> Source:
    """Read `.env` of the working directory; it may serve other programs too, so any name may stand there."""
    path = Path(DOT_ENV)
    if not path.is_file():
        return Source(place="")
    return Source(place=f"in {DOT_ENV}", settings=_read_file(path, DOT_ENV, faults))


def _read_file(path: Path, name: str, faults: Faults) -> Mapping[str, str]:
    try:
        read = read_tree if is_tree(path) else read_assignments
        return read(path.read_text(encoding="utf-8"))
    except OSError as error:
        faults.add(f"{name}: {path} cannot be read: {error.strerror}")
    except ValueError as error:
        faults.add(f"{name}: {path}: {error}")
    return {}


def _resolve(option: Option, flag: Any, sources: Sequence[Source], faults: Faults) -> Any:
    found, place = _look_up(option, flag, sources)
    if found is None:
        return option.default
    try:
        return _parse(option, found)
    except ValueError as error:
        faults.add(f"{option.flag} ({option.names[0]}) {place}: {error}", option.field)
        return option.default


def _look_up(option: Option, flag: Any, sources: Sequence[Source]) -> tuple[Sequence[str] | None, str]:
    if flag is not None:
        return (flag if option.repeated else [flag]), "on the command line"
    for source in sources:
        for name in option.names:
            text = source.settings.get(name, "").strip()
            if text:  # an empty variable is as good as none
                return [text], source.place
    return None, ""


def _parse(option: Option, texts: Sequence[str]) -> Any:
    if not option.repeated:
        return option.parse(texts[0])
    separator = None if option.separator == " " else option.separator
    parts = [part.strip() for text in texts for part in text.split(separator)]
    return tuple(option.parse(part) for part in parts if part)

"""The settings of the command line: a flag, else the environment, else a line of the --config file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from podling.core.errors import ConfigurationError
from podling.core.value import value
from podling.kit.token_file import readable_by_others

DEFAULT_MASTER = "http://127.0.0.1:8070"
_ENVIRONMENT = {
    "master": "PODLING_MASTER_URL",
    "token_file": "PODLING_TOKEN_FILE",
    "tls_ca": "PODLING_TLS_CA",
    "tls_fingerprint": "PODLING_TLS_FINGERPRINT",
    "json": "PODLING_JSON",
    "verbose": "PODLING_VERBOSE",
}
_TOKEN = "PODLING_TOKEN"
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off", ""})


@value
class Settings:
    """`tls_ca` and `tls_fingerprint` are two ways to say who is trusted; one at most is given."""

    master: str = DEFAULT_MASTER
    token: str | None = None
    tls_ca: Path | None = None
    tls_fingerprint: str | None = None
    json: bool = False
    verbose: bool = False
    notices: tuple[str, ...] = ()


def read_settings(
    given: Mapping[str, Any],
    environment: Mapping[str, str],
    read_assignments: Callable[[str], Mapping[str, str]],
) -> Settings:
    """Return the settings; `given` are the flags. Raises ConfigurationError with what to change.

    `read_assignments` reads the lines of a configuration file, and raises ValueError.
    """
    config = given.get("config")
    lines = _read_config(Path(config), read_assignments) if config else {}
    found = {
        name: given.get(name) or environment.get(variable) or lines.get(name)
        for name, variable in _ENVIRONMENT.items()
    }
    if found["tls_ca"] and found["tls_fingerprint"]:
        raise ConfigurationError("--tls-ca and --tls-fingerprint say the same thing; give one of them")
    return Settings(
        master=found["master"] or DEFAULT_MASTER,
        token=_token(found["token_file"], environment.get(_TOKEN)),
        tls_ca=Path(found["tls_ca"]) if found["tls_ca"] else None,
        tls_fingerprint=found["tls_fingerprint"] or None,
        json=_flag("json", found["json"]),
        verbose=_flag("verbose", found["verbose"]),
        notices=readable_by_others(Path(found["token_file"])) if found["token_file"] else (),
    )


def _read_config(path: Path, read: Callable[[str], Mapping[str, str]]) -> Mapping[str, str]:
    """Return the file's settings; a name in it is a flag's or an environment variable's."""
    names = {variable.lower(): name for name, variable in _ENVIRONMENT.items()}
    names |= {name: name for name in _ENVIRONMENT} | {"master_url": "master"}
    try:
        lines = read(_text_of(path))
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    settings = {}
    for name, text in lines.items():
        known = names.get(name.replace("-", "_").lower())
        if known is None:
            raise ConfigurationError(
                f"{name!r} in {path} is not a setting of podling; use {', '.join(sorted(_ENVIRONMENT))}"
            )
        settings[known] = text
    return settings


def _token(file: str | None, text: str | None) -> str | None:
    """Return the file's, else the environment's, as an attempt has it. A flag would be seen by all."""
    if file:
        return _checked(str(file), _text_of(Path(file)))
    return _checked(_TOKEN, text) if text else None


def _checked(source: str, text: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigurationError(f"{source} holds no token; it must be one line of plain characters")
    return token


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not a text file") from None


def _flag(name: str, text: Any) -> bool:
    if isinstance(text, bool) or text is None:
        return bool(text)
    if text.lower() not in _TRUE | _FALSE:
        raise ConfigurationError(f"{name}: {text!r} is neither true nor false")
    return text.lower() in _TRUE

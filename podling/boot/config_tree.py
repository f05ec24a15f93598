"""A `--config` file as YAML or JSON: settings by name, and the sections of a broker's configuration."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SUFFIXES = frozenset({".yaml", ".yml", ".json"})

_SECTIONS = {
    "logging": {"level": "log-level", "format": "log-format"},
    "broker": {"debug": "log-level"},
}
_MEANS_NOTHING = {
    # A broker's own, which has no counterpart: batches and waits here follow the work by themselves.
    "broker": frozenset(
        {"name", "fetch_size", "poll_timer", "buffer", "worker_idle_timeout", "notify_retry"}
    ),
}


def is_tree(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def read_tree(text: str) -> Mapping[str, str]:
    """Return the settings by name, each as the text that a flag would have.

    Raises ValueError with a sentence for a person.
    """
    import yaml  # for those who have such a file; JSON is YAML too

    try:
        plain = yaml.safe_load(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"line {mark.line + 1}: "
        raise ValueError(f"{where}it is neither YAML nor JSON") from None
    if not isinstance(plain, dict):
        raise ValueError("it must be a mapping of settings, such as `port: 8070`")
    return dict(_settings(plain))


def _settings(plain: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for name, setting in plain.items():
        if name == "databases":
            yield "databases", json.dumps(setting, default=str)
        elif name in _SECTIONS and isinstance(setting, dict):
            yield from _section(str(name), setting)
        elif setting is not None:
            yield str(name), _text(str(name), setting)


def _section(section: str, settings: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    known = _SECTIONS[section]
    for key, setting in settings.items():
        if key in _MEANS_NOTHING.get(section, ()) or setting is None:
            continue
        if key not in known:
            raise ValueError(f"{section}.{key} is not known; it may have {', '.join(known)}")
        if key == "debug":
            if setting is True:
                yield known[key], "debug"
        else:
            yield known[key], _text(f"{section}.{key}", setting)


def _text(name: str, setting: Any) -> str:
    if isinstance(setting, bool):
        return "true" if setting else "false"
    if isinstance(setting, list):
        return ",".join(_text(name, item) for item in setting)
    if isinstance(setting, dict):
        raise ValueError(f"{name} must be a text, a number or a list of them")
    return str(setting)

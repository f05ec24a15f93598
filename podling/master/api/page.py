"""The contract as a page: rendered here, so that it needs neither scripts nor the Internet."""

import hashlib
import json
import re
import shlex
from base64 import b64encode
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from podling.core.value import value

Json = Mapping[str, Any]
ADDRESS = "http://address.invalid"
"""Stands in a page where the address belongs that the reader has asked."""

_TOKEN = '-H "Authorization: Bearer $PODLING_TOKEN"'
_DEEPEST = 6  # levels of a schema that are told; below stands its name


@value
class Entry:
    """One operation as the page shows it."""

    method: str
    path: str
    body: Json
    wants_token: bool

    @property
    def command(self) -> str:
        """Return the operation as one types it, with the example's body."""
        words = ["curl", "-X", self.method] if self.method != "GET" else ["curl"]
        content = self.body.get("requestBody", {}).get("content", {}).get("application/json", {})
        given = ["-d", json.dumps(content["example"], ensure_ascii=False)] if "example" in content else []
        token = [_TOKEN] if self.wants_token else []  # in the shell's own quotes, which fill in the variable
        return " ".join([*words, *token, shlex.join([f"{ADDRESS}{self.path}", *given])])


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("podling.master.api"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["type"] = type_of
    environment.filters["prose"] = prose
    environment.filters["json"] = lambda schema: json.dumps(schema, indent=2, ensure_ascii=False)
    return environment.get_template("docs.html")


def render(document: Json, version: str, *, with_tokens: bool) -> str:
    """Return the document as HTML with `ADDRESS` in it; with tokens, the commands show one."""
    return _template().render(
        document=document,
        version=version,
        with_tokens=with_tokens,
        sections=[(tag, list(_entries(document, tag["name"], with_tokens))) for tag in document["tags"]],
        schemas=document["components"]["schemas"],
    )


def content_policy(page: str) -> str:
    """Return what lets a browser do no more with the page than show it in its own style."""
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    nothing = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return f"{nothing}; style-src 'sha256-{digest}'"


def _entries(document: Json, tag: str, with_tokens: bool) -> Iterator[Entry]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if tag in operation["tags"]:
                wants_token = with_tokens and bool(operation["security"])
                yield Entry(method=method.upper(), path=path, body=operation, wants_token=wants_token)


def prose(text: str) -> Markup:
    """Return the text with what stands between backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )


def type_of(schema: Json, depth: int = 0) -> str:
    """Return a short name for what a schema allows, as a person would write it."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_of(option, depth + 1) for option in schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type")
    if kind == "array" and depth < _DEEPEST:
        return f"list of {type_of(schema['items'], depth + 1)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict) and depth < _DEEPEST:
        return f"object of {type_of(schema['additionalProperties'], depth + 1)}"
    return "time" if schema.get("format") == "date-time" else str(kind or "anything")

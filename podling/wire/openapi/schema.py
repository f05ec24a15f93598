"""JSON Schemas of what is sent and answered, derived from the core's values and the wire's views."""

from collections.abc import Iterable, Mapping
from typing import Any

from podling.core.value import camel_case
from podling.wire.codec import adapter

Schema = dict[str, Any]

_TEMPLATE = "#/components/schemas/{model}"
STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
ANYTHING: Schema = {}


def reference(name: str) -> Schema:
    """Return the schema that stands for the component `name`."""
    return {"$ref": _TEMPLATE.format(model=name)}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def mapping(items: Schema) -> Schema:
    return {"type": "object", "additionalProperties": items}


def nullable(schema: Schema) -> Schema:
    """Return the schema that also lets null stand for "absent"."""
    options = schema.get("anyOf")
    if options and {"type": "null"} in options:
        return {name: part for name, part in schema.items() if (name, part) != ("default", None)}
    about = {name: schema[name] for name in ("description", "default") if schema.get(name) is not None}
    rest = {name: part for name, part in schema.items() if name not in ("description", "default")}
    if rest == ANYTHING:
        return about
    return about | {"anyOf": [*(options or [rest]), {"type": "null"}]}


def closed(description: str, properties: Mapping[str, Schema], optional: Iterable[str] = ()) -> Schema:
    """Return an object that has these properties and no others; `optional` ones may be missing or null."""
    left_out = frozenset(optional)
    return {
        "type": "object",
        "description": description,
        "properties": {
            name: nullable(schema) if name in left_out else schema for name, schema in properties.items()
        },
        "required": [name for name in properties if name not in left_out],
        "additionalProperties": False,
    }


def components_of(*kinds: type[Any], sent: bool = False) -> dict[str, Schema]:
    """Return the schemas of the values and of everything in them, by the names of their classes.

    In what is `sent`, a field with a default may be left out, or null; what is answered is whole.
    """
    found: dict[str, Schema] = {}
    for kind in kinds:
        schema = adapter(kind).json_schema(by_alias=True, ref_template=_TEMPLATE)
        found |= schema.pop("$defs", {})
        found[kind.__name__] = schema
    return {name: _tidy(schema, sent) for name, schema in found.items()}


def properties_of(kind: type[Any], *names: str, sent: bool = False) -> dict[str, Schema]:
    """Return the schemas of a value's fields by their outside names; all of them if none is named."""
    properties: dict[str, Schema] = components_of(kind, sent=sent)[kind.__name__]["properties"]
    wanted = [camel_case(name) for name in names] or list(properties)
    return {name: properties[name] for name in wanted}


def _tidy(schema: Schema, sent: bool) -> Schema:
    """Null means absent wherever a field is optional; titles say nothing that names do not say."""
    tidied = {name: part for name, part in schema.items() if name != "title"}
    properties = {name: _without_title(part) for name, part in tidied.get("properties", {}).items()}
    required = tidied.get("required", [])
    if sent:
        properties = {name: part if name in required else nullable(part) for name, part in properties.items()}
    return tidied | (
        {"properties": properties, "required": required if sent else list(properties)} if properties else {}
    )


def _without_title(schema: Schema) -> Schema:
    return {name: part for name, part in schema.items() if name != "title"}

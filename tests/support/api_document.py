"""stream/http/openapi.json for tests, and a small validator of JSON Schema.

It knows the keywords of CHECKED, and finds members that are not documented as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

FOLDER = resources.files("stream") / "http"
DOCUMENT: dict[str, Any] = json.loads((FOLDER / "openapi.json").read_text(encoding="utf-8"))
OPERATIONS: dict[str, dict[str, Any]] = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
NOTES = {"description"}
CHECKED = {
    *("$ref", "type", "required", "properties", "items", "enum", "const", "pattern", "oneOf", "allOf"),
    *("minimum", "maximum", "exclusiveMinimum", "minItems", "maxItems", "maxProperties"),
}


def resolved(item: dict[str, Any]) -> dict[str, Any]:
    """What a reference stands for, with the reference's own members before it."""
    if "$ref" not in item:
        return item
    found: Any = DOCUMENT
    for step in item["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return {**found, **{name: value for name, value in item.items() if name != "$ref"}}


def members(schema: dict[str, Any]) -> dict[str, Any]:
    """Those that an object may have, by name."""
    schema = resolved(schema)
    every = dict(schema.get("properties", {}))
    for part in (*schema.get("allOf", ()), *schema.get("oneOf", ())):
        every |= members(part)
    return every


def faults(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """How a value is not as the schema says."""
    found = []
    if isinstance(value, dict):
        found += [f"{where}.{name} is not documented" for name in value.keys() - members(schema).keys()]
    return found + mismatches(value, schema, where)


def mismatches(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """The same, but further members of the outermost object are let pass, as JSON Schema does."""
    schema = resolved(schema)
    found: list[str] = []
    kinds = schema.get("type", list(KINDS))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(isinstance(value, KINDS[kind]) for kind in kinds) or (
        isinstance(value, bool) and "boolean" not in kinds
    ):
        return [f"{where} is {value!r:.60}, no {' or '.join(kinds)}"]
    if "const" in schema and (value != schema["const"] or type(value) is not type(schema["const"])):
        found.append(f"{where} is {value!r:.60}, not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where} is {value!r:.60}, none of {schema['enum']}")
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{where} is {value!r:.60}, not {schema['pattern']}")
    if isinstance(value, (int, float)):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if not low <= value <= high or value <= schema.get("exclusiveMinimum", value - 1):
            found.append(f"{where} is {value}, out of range")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{where} has {len(value)} items")
        for number, item in enumerate(value):
            found += faults(item, schema.get("items", {}), f"{where}[{number}]")
    if isinstance(value, dict):
        if len(value) > schema.get("maxProperties", len(value)):
            found.append(f"{where} has {len(value)} members")
        found += [f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value]
        for name, part in schema.get("properties", {}).items():
            found += faults(value[name], part, f"{where}.{name}") if name in value else []
    for part in schema.get("allOf", ()):
        found += mismatches(value, part, where)
    if "oneOf" in schema:
        wrong = [mismatches(value, part, where) for part in schema["oneOf"]]
        if wrong.count([]) != 1:
            found.append(f"{where} fits {wrong.count([])} of {len(wrong)}: {wrong}")
    return found


def schemas(item: Any) -> Iterator[dict[str, Any]]:
    """All that the document has, those inside of others too."""
    if isinstance(item, list):
        for part in item:
            yield from schemas(part)
    elif isinstance(item, dict):
        if "schema" in item:
            yield from within(item["schema"])
        for name, part in item.items():
            if name != "schema":
                yield from schemas(part)


def within(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """This one and those inside of it, but for what it refers to."""
    yield schema
    parts = (*schema.get("properties", {}).values(), *schema.get("oneOf", ()), *schema.get("allOf", ()))
    for part in (*parts, *([schema["items"]] if "items" in schema else [])):
        yield from within(part)


def references(item: Any) -> Iterator[str]:
    """Every one in the document or a part of it."""
    if isinstance(item, dict):
        if "$ref" in item:
            yield item["$ref"]
        item = list(item.values())
    if isinstance(item, list):
        for part in item:
            yield from references(part)

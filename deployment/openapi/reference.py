"""The reference page: Markdown made from the OpenAPI document. Pure functions."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

METHODS = ("get", "post", "delete")
HEAD = "<!-- Made by `python -m deployment.openapi` from the YAML files beside it. -->"


def reference_page(document: Json) -> str:
    """The whole page, ending in a newline."""
    info = document["info"]
    lines = [HEAD, f"# {info['title']}: HTTP reference", "", info["description"], ""]
    for tag in document["tags"]:
        lines += [f"## {tag['name']}", "", tag["description"], ""]
        for path, item in document["paths"].items():
            for method in METHODS:
                if method in item and tag["name"] in item[method]["tags"]:
                    lines += _operation(document, path, method, item)
    lines += ["## Objects", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += _object(document, name, schema)
    return "\n".join(lines).rstrip() + "\n"


def resolved(document: Json, value: Json) -> Json:
    """What a `$ref` within the document points to; anything else as it is."""
    while "$ref" in value:
        found: Any = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def _operation(document: Json, path: str, method: str, item: Json) -> Iterator[str]:
    operation = item[method]
    yield from (
        f"### {method.upper()} {path}",
        "",
        f"{operation['summary']}. {operation.get('description', '')}".rstrip(),
    )
    yield ""
    given = [resolved(document, one) for one in (*item.get("parameters", ()), *operation.get("parameters", ()))]
    if given:
        yield from ("| parameter | in | type | |", "|---|---|---|---|")
        for one in given:
            needed = ", required" if one.get("required") else ""
            yield f"| `{one['name']}` | {one['in']}{needed} | {_type(document, one['schema'])} | {one['description']} |"
        yield ""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body, `{kind}`: {_type(document, content['schema'])}"
        yield ""
        for example in content.get("examples", {}).values():
            yield from (f"{example['summary']}:", "", "```console", _curl(path, kind, example["value"]), "```", "")
    yield from ("| answer | | |", "|---|---|---|")
    for status, response in operation["responses"].items():
        answer = resolved(document, response)
        types = {_type(document, content["schema"]) for content in answer.get("content", {}).values()}
        yield f"| {status} | {', '.join(sorted(types))} | {answer['description']} |"
    yield ""
    for kind, content in operation["responses"].get("200", {}).get("content", {}).items():
        for name, example in content.get("examples", {}).items():
            yield from (f"`{kind}`, {name.replace('_', ' ')}:", "", "```json", _pretty(example["value"]), "```", "")


def _object(document: Json, name: str, schema: Json) -> Iterator[str]:
    yield from (f"### {name}", "")
    if "description" in schema:
        yield from (schema["description"], "")
    if "properties" not in schema:
        yield from (f"{_type(document, schema)}", "")
        return
    yield from ("| field | type | |", "|---|---|---|")
    for field, inner in schema["properties"].items():
        needed = "required. " if field in schema.get("required", ()) else ""
        yield f"| `{field}` | {_type(document, inner)} | {needed}{resolved(document, inner).get('description', '')} |"
    yield ""


def _type(document: Json, schema: Json) -> str:
    """A schema in a few words; a named one by its name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for either in ("anyOf", "oneOf"):
        if either in schema:
            return " or ".join(_type(document, one) for one in schema[either])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"] if value is not None) + _default(schema)
    kinds = schema.get("type", "any")
    text = " or ".join(kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null")
    if text == "array":
        return f"array of {_type(document, schema['items'])}"
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None:
        text += f", {least} to {most}" if most is not None else f", at least {least}"
    return text + _default(schema)


def _default(schema: Json) -> str:
    return f" (default {json.dumps(schema['default']).strip(chr(34))})" if "default" in schema else ""


def _curl(path: str, kind: str, body: Json) -> str:
    lines = [f'curl "$HHRAY{path}"', '  -H "authorization: Bearer $KEY"']
    if kind == "application/json":
        lines += [f"  -H 'content-type: {kind}'"]
        lines += ["  -H 'x-dashscope-async: enable'"] if path.startswith("/api/") else []
        return " \\\n".join([*lines, f"  -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"])
    return " \\\n".join([*lines, *(f"  -F {shlex.quote(f'{name}={value}')}" for name, value in body.items())])


def _pretty(value: Json) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)

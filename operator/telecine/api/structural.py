"""From the JSON Schema of a pydantic model to a structural schema of Kubernetes.

A structural schema has no references, no `null` types and a type at every node:
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

JsonSchema = dict[str, Any]

INT_OR_STRING = "x-kubernetes-int-or-string"
PRESERVE = "x-kubernetes-preserve-unknown-fields"
VALIDATIONS = "x-kubernetes-validations"

#: Keywords copied as they are. Everything else is handled by name below or refused.
_COPIED = frozenset(
    {
        *("type", "enum", "pattern", "required", "minimum", "maximum", "minLength", "maxLength"),
        *("minItems", "maxItems", "minProperties", "maxProperties", "allOf"),
        *(INT_OR_STRING, PRESERVE, VALIDATIONS, "x-kubernetes-map-type"),
        *("x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    }
)
_DROPPED = frozenset({"title", "$defs", "examples"})
_INT32 = range(-(2**31), 2**31)


class UnstructuralError(ValueError):
    """A model has a schema that a CustomResourceDefinition cannot express."""


def structural_schema(model: type[BaseModel], *, defaults: bool) -> JsonSchema:
    """The structural schema of a model, in the spelling of its aliases.

    With `defaults`, scalar defaults are part of it, so that the API server fills them in. Empty
    strings, lists, maps and whole objects never are: they would say nothing, and an object that
    the user did not give must stay absent. Raises UnstructuralError.
    """
    schema = model.model_json_schema(by_alias=True)
    return _Translator(schema.get("$defs", {}), defaults).translate(schema, model.__name__)


class _Translator:
    def __init__(self, definitions: Mapping[str, JsonSchema], defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def translate(self, node: JsonSchema, path: str) -> JsonSchema:
        node = self._resolve(node, path)
        result: JsonSchema = {}
        if description := node.get("description"):
            result["description"] = " ".join(description.split())
        for key, value in node.items():
            if key in _COPIED:
                result[key] = value
            elif key == "format":
                result.update(_format(value, path))
            elif key == "const":
                result["enum"] = [value]
            elif key == "default":
                if self._defaults and _worth_a_default(value):
                    result["default"] = value
            elif key == "items":
                result["items"] = self.translate(value, f"{path}[]")
            elif key == "properties":
                result["properties"] = {
                    name: self.translate(child, f"{path}.{name}") for name, child in value.items()
                }
            elif key == "additionalProperties":
                result.update(self._additional(value, path))
            elif key not in _DROPPED and key != "description":
                raise UnstructuralError(f"{path}: no structural form of `{key}`")
        return _with_type(result)

    def _resolve(self, node: JsonSchema, path: str) -> JsonSchema:
        """Inlines a reference and takes the null out of an optional; what the field says wins."""
        for _ in range(8):
            if "$ref" in node:
                target = self._definitions[node["$ref"].rpartition("/")[2]]
                node = _merge(target, {k: v for k, v in node.items() if k != "$ref"})
            elif "anyOf" in node:
                options = [option for option in node["anyOf"] if option.get("type") != "null"]
                if len(options) != 1:
                    raise UnstructuralError(f"{path}: a union of types has no structural form")
                node = _merge(options[0], {k: v for k, v in node.items() if k != "anyOf"})
            else:
                return node
        raise UnstructuralError(f"{path}: references nest too deep")

    def _additional(self, value: bool | JsonSchema, path: str) -> JsonSchema:
        if value is False:  # The API server refuses or prunes unknown fields by itself.
            return {}
        if value is True or not value:
            return {PRESERVE: True}
        return {"additionalProperties": self.translate(value, f"{path}[*]")}


def _merge(target: JsonSchema, field: JsonSchema) -> JsonSchema:
    merged = {**target, **field}
    if VALIDATIONS in target and VALIDATIONS in field:
        merged[VALIDATIONS] = [*target[VALIDATIONS], *field[VALIDATIONS]]
    return merged


def _format(value: str, path: str) -> JsonSchema:
    if value != "date-time":
        raise UnstructuralError(f"{path}: the format {value} is not one of Kubernetes'")
    return {"format": value}


def _worth_a_default(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and value != "")


def _with_type(schema: JsonSchema) -> JsonSchema:
    """Adds what Kubernetes wants beside a type: the width of an integer, a free-form node."""
    if schema.get("type") == "integer":
        bounds = (schema.get("minimum"), schema.get("maximum"))
        narrow = all(bound is not None and bound in _INT32 for bound in bounds)
        schema["format"] = "int32" if narrow else "int64"
    elif "type" not in schema and INT_OR_STRING not in schema:
        schema[PRESERVE] = True
    return schema

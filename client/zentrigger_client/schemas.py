"""JSON Schemas of what a pipeline and its steps take, made from their functions' signatures."""

import inspect
import json
import sys
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from zenml.steps.step_invocation import StepInvocation

Json = dict[str, Any]


def parameters_schema(inputs: Mapping[str, inspect.Parameter], defaults: Mapping[str, Any]) -> Json:
    """Return the JSON Schema of a function's parameters: one property each, defaults included, nothing else allowed.

    What pydantic accepts beyond its own JSON Schema (``"5"`` for an int) is refused here. Fields that a nested model
    would ignore are refused too, unless the model says ``extra="allow"``.
    """
    fields: dict[str, Any] = {}
    for position, (name, parameter) in enumerate(inputs.items()):
        default = defaults.get(name, ... if parameter.default is inspect.Parameter.empty else parameter.default)
        # Pydantic takes a leading underscore for a private attribute: the field is numbered, the alias is the name.
        fields[f"parameter_{position}"] = (parameter.annotation, Field(default=default, alias=name))
    model: type[BaseModel] = create_model("Parameters", __config__=ConfigDict(extra="forbid"), **fields)
    return closed(model.model_json_schema(by_alias=True))


def closed(schema: Json) -> Json:
    """Return the schema without titles, and with nothing allowed beyond what it names.

    Raises:
        ValueError: It holds a number that JSON has not.

    """
    schema = json.loads(json.dumps(schema, allow_nan=False))
    schema.pop("title", None)
    for definition in [schema, *schema.get("$defs", {}).values()]:
        if "properties" in definition or definition.get("type") == "object":
            definition.setdefault("additionalProperties", False)
        for property_schema in definition.get("properties", {}).values():
            property_schema.pop("title", None)
    schema.setdefault("properties", {})
    return dict(schema)


def step_schema(invocation: StepInvocation, configured: Mapping[str, Any], fixed: Collection[str]) -> Json:
    """Return the schema of what a caller may override of this step.

    Artifacts are no parameters; what the pipeline's body passes itself (``fixed``) is refused by ZenML; a parameter
    whose type has no JSON Schema cannot be sent.
    """
    inputs = invocation.step.entrypoint_definition.inputs
    open_inputs: dict[str, inspect.Parameter] = {}
    for name, parameter in inputs.items():
        if name in configured and name not in fixed:
            try:
                parameters_schema({name: parameter}, {name: configured[name]})
            except Exception as error:  # noqa: BLE001 - pydantic raises many kinds for a type it knows no schema of
                text = f"  step {invocation.id}: {name} cannot be overridden: {error}".splitlines()[0]
                sys.stderr.write(f"{text}\n")
            else:
                open_inputs[name] = parameter
    return parameters_schema(open_inputs, configured)

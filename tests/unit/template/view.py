"""template.yaml as AWS gets it: transformed by SAM, with its intrinsic functions as they are written."""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from local.sam import transform_template

ROOT = Path(__file__).resolve().parents[3]
PARAMETERS = {"ImageUri": "registry.example.com/zentrigger@sha256:0", "ScheduledTrigger": "nightly"}

Json = dict[str, Any]


@dataclass(frozen=True)
class Function:
    """A Lambda function: its name in the template, its properties, and the folder of its code."""

    name: str
    properties: Json
    folder: Path

    @property
    def timeout(self) -> int:
        """Seconds; 3 where the template says nothing (AWS: AWS::Lambda::Function)."""
        return int(self.properties.get("Timeout", 3))

    @property
    def variables(self) -> Json:
        """The environment that the template gives."""
        variables: Json = self.properties.get("Environment", {}).get("Variables", {})
        return variables


@dataclass(frozen=True)
class View:
    """The transformed template, to look at and (a copy of it) to break."""

    body: Json
    folders: dict[str, Path] = field(repr=False)

    @property
    def resources(self) -> Json:
        """All resources, by name."""
        resources: Json = self.body["Resources"]
        return resources

    def copied(self) -> "View":
        """Give a copy that may be changed."""
        return View(copy.deepcopy(self.body), self.folders)

    def of(self, kind: str) -> Iterator[tuple[str, Json]]:
        """Give name and properties of every resource of a type."""
        for name, resource in self.resources.items():
            if resource["Type"] == kind:
                yield name, resource.get("Properties", {})

    def functions(self) -> Iterator[Function]:
        """Give every function."""
        for name, properties in self.of("AWS::Lambda::Function"):
            yield Function(name, properties, self.folders[name])

    def routes(self) -> Iterator[tuple[str, str, str]]:
        """Give method, path and function of every route; method ANY and path $default for the catch-all."""
        for _, properties in self.of("AWS::ApiGatewayV2::Api"):
            for path, methods in properties["Body"]["paths"].items():
                for method, operation in methods.items():
                    name = "ANY" if method.startswith("x-") else method.upper()
                    (function,) = named(operation["x-amazon-apigateway-integration"]["uri"]) & set(self.folders)
                    yield name, path.removeprefix("/") if path == "/$default" else path, function

    def targets(self) -> Iterator[tuple[str, Json, Json]]:
        """Give name and properties of every event rule with each of its targets."""
        for name, properties in self.of("AWS::Events::Rule"):
            for target in properties["Targets"]:
                yield name, properties, target

    def mappings(self) -> Iterator[tuple[str, Json]]:
        """Give name and properties of every event source mapping."""
        return self.of("AWS::Lambda::EventSourceMapping")


def named(value: Any) -> set[str]:
    """Give all names of parameters and resources that a value refers to."""
    if isinstance(value, list):
        return {name for item in value for name in named(item)}
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, item in value.items():
        if key == "Ref":
            found.add(str(item))
        elif key == "Fn::GetAtt":
            found.add(str(item if isinstance(item, str) else item[0]).partition(".")[0])
        elif key == "Fn::Sub":
            text = item if isinstance(item, str) else item[0]
            found |= {part.partition("}")[0].partition(".")[0] for part in text.split("${")[1:]}
        else:
            found |= named(item)
    return found


@cache
def _transformed() -> tuple[str, dict[str, Path]]:
    transformed = transform_template(ROOT / "template.yaml", parameters=PARAMETERS, region="eu-central-1")
    folders = {name: source.folder for name, source in transformed.code.items() if "functions" in source.folder.parts}
    return json.dumps(transformed.body), folders


def whole() -> View:
    """Give the template as it is."""
    body, folders = _transformed()
    return View(json.loads(body), folders)

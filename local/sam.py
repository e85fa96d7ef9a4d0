"""From a SAM template to a CloudFormation template, by AWS's own transform."""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import yaml
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.arn_generator import ArnGenerator
from samtranslator.translator.translator import Translator
from samtranslator.utils.py27hash_fix import (
    to_py27_compatible_template,
    undo_mark_unicode_str_in_template,
)
from samtranslator.yaml_helper import yaml_parse

from local.errors import TemplateError, invalid
from local.parameters import parameter_values

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CODE_BUCKET = "embedded-aws-code"
_CODE_KEYS = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}


@dataclass(frozen=True)
class CodeSource:
    """Where the code of a function or layer lies, and how it asks to be built."""

    logical_id: str
    folder: Path
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class CloudFormationTemplate:
    """A transformed template: `body` is plain CloudFormation; `code` is keyed by the logical id in the SAM template."""

    body: Mapping[str, Any]
    parameters: Mapping[str, Any]
    code: Mapping[str, CodeSource]

    def code_of(self, logical_id: str, content: Mapping[str, Any]) -> CodeSource:
        """Return the source behind a resource's Code or Content, which names it by its S3 key."""
        key = str(content.get("S3Key", ""))
        if content.get("S3Bucket") != CODE_BUCKET or key not in self.code:
            raise invalid(logical_id, "its code must be a folder beside the template (CodeUri or ContentUri).")
        return self.code[key]


def read_template(path: Path) -> dict[str, Any]:
    """Read a template file: YAML with CloudFormation's short forms. Aliases become copies."""
    try:
        document = yaml_parse(path.read_text())
    except yaml.YAMLError as error:
        raise TemplateError(f"{path.name} is no YAML: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise TemplateError(f"{path.name} has no Resources.")
    copied: dict[str, Any] = json.loads(json.dumps(document, default=str))
    return copied


def transform_template(path: Path, *, parameters: Mapping[str, str], region: str) -> CloudFormationTemplate:
    """Transform the template at `path`; raises TemplateError with SAM's own reasons."""
    document = read_template(path)
    values = parameter_values(document.get("Parameters", {}), parameters)
    code = _take_code(document, path.parent)
    ArnGenerator.BOTO_SESSION_REGION_NAME = region
    texts = {name: ",".join(value) if isinstance(value, list) else str(value) for name, value in values.items()}
    try:
        body = _transform(document, texts, region)
    except InvalidDocumentException as error:
        reasons = "; ".join(str(cause.message) for cause in error.causes)
        raise TemplateError(f"SAM refuses {path.name}: {reasons}") from error
    return CloudFormationTemplate(body=json.loads(json.dumps(body)), parameters=values, code=code)


def _transform(document: dict[str, Any], parameters: dict[str, str], region: str) -> Any:
    """Do what samtranslator's own `transform` does, with a region, and without asking IAM for managed policies."""
    to_py27_compatible_template(document, parameters)
    translator = Translator(None, Parser(), boto_session=boto3.session.Session(region_name=region))
    body = translator.translate(document, parameter_values=parameters, get_managed_policy_map=dict)
    return undo_mark_unicode_str_in_template(body)


def _take_code(document: dict[str, Any], root: Path) -> dict[str, CodeSource]:
    """Replace each local CodeUri and ContentUri by an S3 address, which the transform insists on."""
    default = document.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    code: dict[str, CodeSource] = {}
    for logical_id, resource in document["Resources"].items():
        kind = str(resource.get("Type")) if isinstance(resource, dict) else ""
        if kind not in _CODE_KEYS:
            continue
        properties = resource.setdefault("Properties", {})
        key = _CODE_KEYS[kind]
        given = properties.get(key, default if kind == "AWS::Serverless::Function" else None)
        if not isinstance(given, str):
            raise invalid(logical_id, f"{key} must name a folder beside the template.")
        folder = (root / given).resolve()
        if not folder.is_dir():
            raise invalid(logical_id, f"{key} names {given}, which is no folder.")
        properties[key] = f"s3://{CODE_BUCKET}/{logical_id}"
        code[logical_id] = CodeSource(logical_id, folder, resource.get("Metadata", {}))
    return code

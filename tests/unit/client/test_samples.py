"""Values made up from a schema: accepted by the schema they were made from."""

from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import jsonschema_rs
import pytest
from pydantic import BaseModel, Field, TypeAdapter

from zentrigger_client.samples import NoSampleError, sample_of


class Colour(Enum):
    """An enumeration."""

    RED = "red"


class Model(BaseModel):
    """A model with required fields."""

    depth: int
    names: list[str] = Field(min_length=2)
    colour: Colour


class Tree(BaseModel):
    """A type without an end."""

    child: "Tree"


@pytest.mark.parametrize(
    "annotation",
    [
        str,
        int,
        bool,
        float,
        UUID,
        Any,
        Colour,
        Model,
        Literal["b", "a"],
        int | None,
        dict[str, int],
        list[Model],
        tuple[int, str],
        Annotated[int, Field(gt=7, multiple_of=5)],
        Annotated[int, Field(lt=-3)],
        Annotated[float, Field(gt=0, lt=0.5)],
        Annotated[float, Field(gt=10)],
        Annotated[str, Field(min_length=12)],
        Annotated[str, Field(max_length=3)],
        Annotated[list[int], Field(min_length=3)],
        None,
    ],
)
def test_is_accepted_by_its_schema_and_its_type(annotation: Any) -> None:
    """A sample passes both the JSON Schema and pydantic's own check."""
    adapter = TypeAdapter(annotation)
    schema = adapter.json_schema()
    sample = sample_of(schema, schema.get("$defs", {}))
    assert jsonschema_rs.validator_for(schema).is_valid(sample), sample
    adapter.validate_python(sample)


def test_prefers_what_the_author_wrote() -> None:
    """Examples and defaults come before made-up values."""
    assert sample_of({"type": "string", "examples": ["s3://bucket/a.csv"]}, {}) == "s3://bucket/a.csv"
    assert sample_of({"type": "integer", "default": 7}, {}) == 7


@pytest.mark.parametrize("annotation", [Annotated[str, Field(pattern="^s3://")], Tree])
def test_says_so_when_it_cannot(annotation: Any) -> None:
    """A pattern or an endless type asks for --sample instead of passing nonsense."""
    schema = TypeAdapter(annotation).json_schema()
    with pytest.raises(NoSampleError, match="--sample"):
        sample_of(schema, schema.get("$defs", {}))

"""Reading requests and answering with problems."""

import base64
import json
import re
import time
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from tests.factories import MOMENT, pipeline, publication, run, run_input, snapshot
from zentrigger.api import OPERATIONS, allowed_methods
from zentrigger.capacity import PipelineCapacity
from zentrigger.catalogue import PublishRequest
from zentrigger.discovery import Found
from zentrigger.errors import (
    ConflictError,
    InvalidRequestError,
    Problem,
    TooLargeError,
    UnreadableError,
    UnsupportedMediaTypeError,
    ZentriggerError,
)
from zentrigger.http import (
    MAX_BODY_BYTES,
    STATUS_OF,
    entity_tags,
    no_query,
    parse_json,
    problem,
    query_flag,
    query_number,
    query_text,
    read_body,
    validate,
)
from zentrigger.openapi import document, page
from zentrigger.run_requests import PipelineUpdate, RunRequest
from zentrigger.runs import Attempt, Report, RunRecord
from zentrigger.track_record import track_record
from zentrigger.views import pipeline_details, pipeline_limit_view, run_details


def event(
    body: str | bytes = "{}", content_type: str | None = "application/json", **values: Any
) -> APIGatewayProxyEventV2:
    """Make an event of API Gateway."""
    encoded = isinstance(body, bytes)
    return APIGatewayProxyEventV2(
        {
            "headers": {"content-type": content_type} if content_type else {},
            "body": base64.b64encode(body).decode() if isinstance(body, bytes) else body,
            "isBase64Encoded": encoded,
            **values,
        }
    )


def test_a_body_is_read_also_in_base64_and_with_a_charset() -> None:
    """API Gateway encodes what it takes for binary."""
    text = '{"pipeline": "größe"}'
    for given in (event(text), event(text.encode()), event(text, "application/json; charset=utf-8")):
        assert read_body(given, RunRequest).pipeline == "größe"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "pipeline=x",
        '{"pipeline": NaN}',
        '{"parameters": {"rate": Infinity}}',
        '{"parameters": {"rate": 1e999}}',
        '{"pipeline": "a", "pipeline": "b"}',
        '{"pipeline": "\\ud800"}',
        '{"parameters": {"n": ' + "9" * 5000 + "}}",
        "[" * 100_000,
        '{"pipeline": "p", "parameters": {"a": ' + "[" * 70 + "]" * 70 + "}}",
        b"\xff\xfe",
    ],
)
def test_what_is_no_json_is_unreadable(body: str | bytes) -> None:
    """400, not a crash: also NaN, infinite numbers, repeated keys, half characters, depth without end."""
    with pytest.raises(UnreadableError):
        read_body(event(body), RunRequest)


def test_the_first_key_that_is_repeated_is_named_in_linear_time() -> None:
    """A body of 1 MB with 80,000 keys is refused after some 0.1 s of this thread's own time, however busy the machine.

    Comparing each key with all others would take minutes.
    """
    keys = ", ".join(f'"{number:05d}": 0' for number in range(80_000))
    body = f'{{{keys}, "first": 0, "second": 0, "second": 1, "first": 1, "first": 2}}'
    assert MAX_BODY_BYTES * 0.9 < len(body) <= MAX_BODY_BYTES

    before = time.thread_time()
    with pytest.raises(UnreadableError, match=r"^The body is not JSON: the key 'first' is there twice$"):
        parse_json(body)
    assert time.thread_time() - before < 1


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "json"])
def test_another_content_type_is_refused(content_type: str | None) -> None:
    """415."""
    with pytest.raises(UnsupportedMediaTypeError):
        read_body(event(content_type=content_type), RunRequest)


def test_a_huge_body_is_refused() -> None:
    """413, before it is parsed."""
    with pytest.raises(TooLargeError):
        read_body(event('"' + "x" * MAX_BODY_BYTES + '"'), RunRequest)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ("[]", {""}),
        ("null", {""}),
        ("{}", {"/pipeline"}),
        ({"pipeline": 1}, {"/pipeline"}),
        ({"pipeline": ""}, {"/pipeline"}),
        ({"pipeline": "a\x00b"}, {"/pipeline"}),
        ({"pipeline": "p", "parameter": {}}, {"/parameter"}),
        ({"pipeline": "p", "parameters": []}, {"/parameters"}),
        ({"pipeline": "p", "steps": {"s": {"params": {}}}}, {"/steps/s/params"}),
        ({"pipeline": "p", "enable_cache": "yes"}, {"/enable_cache"}),
        ({"pipeline": "p", "tags": [""], "steps": 1, "x": 1}, {"/tags/0", "/steps", "/x"}),
        ({"pipeline": "p", "priority": "3", "spot": "yes", "retry": 3}, {"/priority", "/spot", "/retry"}),
        ({"pipeline": "p", "priority": True, "concurrency": "k"}, {"/priority", "/concurrency"}),
        (
            {"pipeline": "p", "concurrency": {"limit": 0, "on_conflict": "wait", "x": 1}},
            {"/concurrency/key", "/concurrency/limit", "/concurrency/on_conflict", "/concurrency/x"},
        ),
    ],
)
def test_what_is_wrong_is_pointed_at(body: object, pointers: set[str]) -> None:
    """422 with all problems at once."""
    with pytest.raises(InvalidRequestError) as caught:
        read_body(event(body if isinstance(body, str) else json.dumps(body)), RunRequest)

    assert {wrong.pointer for wrong in caught.value.problems} == pointers


@pytest.mark.parametrize(
    ("options", "pointer", "said"),
    [
        ({"priority": 11}, "/priority", "less than or equal to 10"),
        ({"priority": -11}, "/priority", "greater than or equal to -10"),
        ({"priority": 1.5}, "/priority", "a valid integer"),
        ({"concurrency": {"key": "x" * 201}}, "/concurrency/key", "at most 200 characters"),
        ({"concurrency": {"key": ""}}, "/concurrency/key", "at least 1 character"),
        ({"concurrency": {"key": "a\nb"}}, "/concurrency/key", "none of them a control character"),
        ({"concurrency": {"key": "a", "limit": 1001}}, "/concurrency/limit", "less than or equal to 1000"),
        (
            {"concurrency": {"key": "a", "on_conflict": "wait"}},
            "/concurrency/on_conflict",
            "'queue', 'skip' or 'reject'",
        ),
        ({"concurrency": ["a"]}, "/concurrency", "an object"),
        ({"retry": {}}, "/retry/max_attempts", "required"),
        ({"retry": {"max_attempts": 0}}, "/retry/max_attempts", "greater than or equal to 1"),
        ({"retry": {"max_attempts": 11}}, "/retry/max_attempts", "less than or equal to 10"),
        ({"retry": {"max_attempts": 2, "backoff_seconds": 3601}}, "/retry/backoff_seconds", "equal to 3600"),
        ({"retry": {"max_attempts": 2, "on": ["x"] * 21}}, "/retry/on", "at most 20 items, not 21"),
        ({"retry": {"max_attempts": 2, "on": "ValueError"}}, "/retry/on", "an array"),
        ({"retry": {"max_attempts": 2, "on": [""]}}, "/retry/on/0", "should match pattern"),
        ({"retry": {"max_attempts": 2, "on": ["not a name!"]}}, "/retry/on/0", "should match pattern"),
        ({"spot": "yes"}, "/spot", "a valid boolean"),
        ({"steps": {"s": []}}, "/steps/s", "an object"),
        ({"tags": "x"}, "/tags", "an array"),
    ],
)
def test_what_is_wrong_with_an_option_is_said_in_json_s_words(options: dict[str, Any], pointer: str, said: str) -> None:
    """Where it is and what would be right; nothing of Python's types."""
    with pytest.raises(InvalidRequestError) as caught:
        validate(RunRequest, {"pipeline": "p"} | options)

    (problem,) = caught.value.problems
    assert problem.pointer == pointer
    assert said in problem.detail
    assert not {"tuple", "dictionary", "validation"} & set(problem.detail.split())


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/max_active_runs"}),
        ({"max_active_runs": -1}, {"/max_active_runs"}),
        ({"max_active_runs": 1001}, {"/max_active_runs"}),
        ({"max_active_runs": "2"}, {"/max_active_runs"}),
        ({"max_active_runs": 1, "name": "p"}, {"/name"}),
        ([], {""}),
    ],
)
def test_a_limit_is_said_and_a_number_or_null(body: Any, pointers: set[str]) -> None:
    """To say nothing is no change that anybody can have meant."""
    with pytest.raises(InvalidRequestError) as caught:
        validate(PipelineUpdate, body)
    assert {wrong.pointer for wrong in caught.value.problems} == pointers
    assert validate(PipelineUpdate, {"max_active_runs": None}).max_active_runs is None


@pytest.mark.parametrize("text", ["-1", "0", "21", "1.5", "x", "", "\u0661", "9" * 50])
def test_numbers_of_the_query_are_bounded(text: str) -> None:
    """Whole, and from 0 to the most."""
    with pytest.raises(InvalidRequestError):
        query_number(event(queryStringParameters={"wait": text}), "wait", 1, least=1, most=20)


def test_entity_tags_are_compared_weakly() -> None:
    """A proxy may weaken them, and a client may send several."""
    assert entity_tags('W/"a", "b"') == {'"a"', '"b"'}
    assert entity_tags("") == frozenset()


def test_writes_take_no_query() -> None:
    """`?dry_run=true` must not start a run."""
    no_query(event())
    with pytest.raises(InvalidRequestError, match="dry_run"):
        no_query(event(queryStringParameters={"dry_run": "true"}))


@pytest.mark.parametrize(
    ("query", "flag"), [(None, False), ({}, False), ({"dry_run": "true"}, True), ({"dry_run": "false"}, False)]
)
def test_a_flag_is_true_or_false(query: dict[str, str] | None, flag: bool) -> None:
    """And false unless said."""
    assert query_flag(event(queryStringParameters=query), "dry_run") is flag


@pytest.mark.parametrize("query", [{"dry_run": "yes"}, {"dry_run": ""}, {"dryrun": "true"}, {"dry_run": "True"}])
def test_no_other_flag_is_taken(query: dict[str, str]) -> None:
    """A misspelt `dry_run` must not start a run."""
    with pytest.raises(InvalidRequestError):
        query_flag(event(queryStringParameters=query), "dry_run")


@pytest.mark.parametrize("problems", [(), (Problem("/name", "It is taken."),)])
def test_a_conflict_lists_what_stands_in_the_way(problems: tuple[Problem, ...]) -> None:
    """Where there is something to list."""
    answer = problem(ConflictError("No.", problems), event(requestContext={"requestId": "r"}))
    assert answer.status_code == 409
    assert answer.body is not None
    assert json.loads(answer.body).get("errors", []) == [
        {"pointer": found.pointer, "detail": found.detail} for found in problems
    ]


def test_unknown_and_empty_filters_are_refused() -> None:
    """A misspelt filter would otherwise list everything."""
    with pytest.raises(InvalidRequestError) as caught:
        query_text(event(queryStringParameters={"pipline": "x", "status": ""}), "pipeline", "status")
    assert len(caught.value.problems) == 2


def test_every_domain_error_has_a_status() -> None:
    """None falls through to 500."""
    assert set(ZentriggerError.__subclasses__()) == set(STATUS_OF)


def test_the_document_describes_every_operation() -> None:
    """Each operation is in it, with every status code that it may answer."""
    paths = json.loads(document())["paths"]
    for operation in OPERATIONS:
        shown = paths[operation.path][operation.method.lower()]
        assert {int(status) for status in shown["responses"]} == {operation.answer, *operation.all_errors}
        assert ("security" in shown) == (operation.scope is not None)
    assert "Zentrigger" in page()


def test_the_document_shows_answers_and_bodies_by_their_models() -> None:
    """Every reference leads somewhere; a page of runs is no dry run, although both are a 200 of one path."""
    shown = json.loads(document())
    schemas = shown["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/(\w+)"', document())) == set(schemas)
    get, post = shown["paths"]["/runs"]["get"], shown["paths"]["/runs"]["post"]
    assert get["responses"]["200"]["content"]["application/json"]["schema"] == {}
    assert post["responses"]["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/DryRun"}
    for field in ("priority", "concurrency", "retry", "spot"):
        assert field in schemas["Run"]["properties"]
        assert schemas["RunRequest"]["properties"][field]["description"]
    assert schemas["PipelineUpdate"]["required"] == ["max_active_runs"]


def test_what_is_shown_of_a_run_is_in_the_document() -> None:
    """Field by field, both ways; so it is of a dry run's and a pipeline's."""
    schemas = json.loads(document())["components"]["schemas"]
    told = Report(outcome="succeeded")
    stories = (Attempt(number=1, launches=1, ended_at=MOMENT, outcome="failed"),)
    details = run_details(RunRecord(run=run(), input=run_input(), result=told, earlier_attempts=stories))
    assert set(details) == set(schemas["Run"]["properties"])
    assert set(details["timings"]) == set(schemas["Run"]["properties"]["timings"]["properties"])
    assert set(details["attempts"][0]) == set(schemas["Run"]["properties"]["attempts"]["items"]["properties"])
    shown = pipeline_details(Found(snapshot(), pipeline(), track_record([]), PipelineCapacity(1, 2, 3)))
    assert set(schemas["Pipeline"]["properties"]) <= set(shown)
    assert shown["capacity"] == {"active_runs": 1, "waiting_runs": 2, "max_active_runs": 3}
    assert set(schemas["Pipeline"]["required"]) == set(pipeline_limit_view("p", PipelineCapacity(0, 0)))


def test_paths_know_their_methods() -> None:
    """For 405 and its Allow."""
    assert allowed_methods("/runs") == ("GET", "POST")
    assert allowed_methods("/runs/abc") == ("DELETE", "GET")
    assert allowed_methods("/runs/abc/def") == ()
    assert allowed_methods("/snapshots/größe 1:2") == ("DELETE", "GET", "PATCH")
    assert allowed_methods("/") == ()


def test_a_text_of_another_pattern_is_told_what_is_wanted() -> None:
    """Nobody reads a UUID out of a regular expression."""
    values = publication(source=None, zenml_snapshot="6f1c52b4-7b0e-5d8a-9a55-3f5a2f8e1c07").model_dump()
    with pytest.raises(InvalidRequestError) as caught:
        validate(PublishRequest, values | {"zenml_snapshot": "nightly"})
    (problem,) = caught.value.problems
    assert problem.pointer == "/zenml_snapshot"
    assert "Id, a UUID" in problem.detail

"""Which requests make objects."""

from __future__ import annotations

import pytest

from local.http_server import Request, Response
from local.s3_events import Creation, Sequencer, creation_of, object_created_detail, succeeded


@pytest.mark.parametrize(
    ("method", "target", "headers", "expected"),
    [
        ("PUT", "/b/a%20b%2Bc/%C3%A4", {}, Creation("b", "a b+c/ä", "PutObject")),
        ("PUT", "/b/a+b?x-id=PutObject", {}, Creation("b", "a+b", "PutObject")),
        ("PUT", "/b/k", {"X-Amz-Copy-Source": "/b/o"}, Creation("b", "k", "CopyObject")),
        ("POST", "/b/k?uploadId=1", {}, Creation("b", "k", "CompleteMultipartUpload")),
        ("PUT", "/k", {"Host": "b.localhost:4566"}, Creation("b", "k", "PutObject")),
        ("PUT", "/b/k?partNumber=1&uploadId=1", {}, None),
        ("PUT", "/b/k?tagging", {}, None),
        ("PUT", "/b/k?acl", {}, None),
        ("PUT", "/b", {}, None),
        ("PUT", "/b/", {}, None),
        ("POST", "/b/k?uploads", {}, None),
        ("POST", "/b?delete", {}, None),
        ("GET", "/b/k", {}, None),
        ("DELETE", "/b/k", {}, None),
    ],
)
def test_creation_of(method: str, target: str, headers: dict[str, str], expected: Creation | None) -> None:
    """Bucket, key (decoded) and S3's reason."""
    request = Request(method, target, [("Host", "127.0.0.1:4566"), *headers.items()][::-1], b"", "127.0.0.1")
    assert creation_of(request) == expected


def test_a_copy_can_fail_with_status_200() -> None:
    """S3 sends the status before it knows."""
    assert succeeded(Response(200, (), b"<CopyObjectResult/>"))
    assert not succeeded(Response(200, (), b"<?xml version='1.0'?><Error><Code>InternalError</Code></Error>"))
    assert not succeeded(Response(404))


def test_sequencers_rise() -> None:
    """As texts, as they are compared."""
    sequencer = Sequencer()
    values = [sequencer.next() for _ in range(100)]
    assert values == sorted(set(values))
    assert {len(value) for value in values} == {18}


def test_version_ids_are_only_there_with_versioning() -> None:
    """`null` is the version of an object in a bucket without."""

    def subject(head: dict[str, str]) -> object:
        return object_created_detail(
            Creation("b", "k", "PutObject"), head=head, sequencer="0", request_id="r", requester="1", source_address="a"
        )["object"]

    assert subject({"content-length": "1", "etag": '"e"', "x-amz-version-id": "v"}) == {
        "key": "k", "size": 1, "etag": "e", "version-id": "v", "sequencer": "0",
    }  # fmt: skip
    assert subject({"content-length": "1", "etag": '"e"', "x-amz-version-id": "null"}) == {
        "key": "k", "size": 1, "etag": "e", "sequencer": "0",
    }  # fmt: skip

"""Tables read from where they really lie: S3 and HTTP."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from pipelines import tables
from pipelines.classifier import ModelError, load_classifier
from pipelines.tables import TableError, read_table

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CSV = b"a,b\n1,x\n2,y\n"


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """Give the address of an S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> "S3Client":
    """Give a client of an S3 that boto3 finds by the environment alone, with a bucket `data` and nothing else."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    assert requests.post(f"{s3_url}/moto-api/reset", timeout=5).ok
    client = boto3.client("s3")
    client.create_bucket(Bucket="data")
    return client


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer by path."""
        status = {
            "/denied.csv": 403,
            "/gone.csv": 404,
            "/broken.csv": 500,
            "/moved.csv": 302,
            "/loop.csv": 302,
            "/inside.csv": 302,
        }
        self.send_response(status.get(self.path.partition("?")[0], 200))
        if self.path == "/moved.csv":
            self.send_header("Location", "/table.csv")
        if self.path == "/loop.csv":
            self.send_header("Location", "/loop.csv")
        if self.path == "/inside.csv":
            self.send_header("Location", "http://169.254.170.2/v2/credentials")
        self.end_headers()
        self.wfile.write(CSV)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Give the address of a web site."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_an_object_in_s3_is_read(s3: "S3Client") -> None:
    """Also with a key that a URL would write otherwise."""
    s3.put_object(Bucket="data", Key="incoming/März 1+1.csv", Body=CSV)
    assert len(read_table("s3://data/incoming/März 1+1.csv")) == 2


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    ("url", "said"), [("s3://data/no.csv", "does not exist"), ("s3://nobody/k.csv", "no bucket 'nobody'")]
)
def test_what_is_not_in_s3_is_named(url: str, said: str) -> None:
    """With what to do about it."""
    with pytest.raises(TableError, match=said) as error:
        read_table(url)
    assert url in str(error.value)


def test_a_table_is_read_over_http(site: str) -> None:
    """Also behind a redirect."""
    assert len(read_table(f"{site}/table.csv?signature=secret")) == 2
    assert len(read_table(f"{site}/moved.csv")) == 2


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/denied.csv?signature=secret", "may not be read"),
        ("/gone.csv", "does not exist"),
        ("/broken.csv", "HTTP 500"),
        ("/loop.csv", "redirects more than"),
    ],
)
def test_what_http_does_not_give_is_named(site: str, path: str, said: str) -> None:
    """By its address, without the query."""
    with pytest.raises(TableError, match=said) as error:
        read_table(site + path)
    assert site in str(error.value)
    assert "secret" not in str(error.value)


def test_too_much_is_not_read(site: str, s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its size is told beforehand or not."""
    s3.put_object(Bucket="data", Key="k.csv", Body=CSV)
    monkeypatch.setattr(tables, "MAX_BYTES", 5)
    for url in (f"{site}/table.csv", "s3://data/k.csv"):
        with pytest.raises(TableError, match="larger than"):
            read_table(url)


def test_a_task_does_not_fetch_its_own_credentials(site: str) -> None:
    """They lie at a link-local address, which no caller may have read, not by a redirect either."""
    with pytest.raises(TableError, match="link-local"):
        read_table("http://169.254.170.2/v2/credentials/x")
    with pytest.raises(TableError, match="link-local"):
        read_table(f"{site}/inside.csv")


def test_a_host_that_is_not_there_is_named() -> None:
    """By the address."""
    with pytest.raises(TableError, match=r"127\.0\.0\.1:9/t\.csv cannot be reached"):
        read_table("http://127.0.0.1:9/t.csv")


def test_a_model_that_is_not_there_is_named(s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> None:
    """With where to look for its URI."""
    s3.create_bucket(Bucket="models")
    monkeypatch.setenv("ARTIFACT_BUCKET", "models")
    with pytest.raises(ModelError, match="no model at s3://models/runs/r/1/train_model/model"):
        load_classifier("s3://models/runs/r/1/train_model/model/")

"""Tables: reading one from a URL, and telling clearly why it cannot be read."""

import csv
import io
import ipaddress
import socket
import time
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

import boto3
import pandas as pd
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

MAX_BYTES = 512 * 1024 * 1024
"""The largest table that is read, as it lies there; in memory it takes several times as much."""

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
TOTAL_SECONDS = 600.0
MAX_REDIRECTS = 5

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_CHUNK = 1024 * 1024
_DELIMITERS = ",;\t|"


class TableError(ValueError):
    """A table that cannot be read or used; the text names it and says what to do."""


def read_table(url: str) -> pd.DataFrame:
    """Read CSV (UTF-8; comma, semicolon, tab or bar) or Parquet from `s3://`, `https://`, `http://` or a file.

    What a file is, is seen from its first bytes, not from its name. A relative path starts at the working
    directory. At most `MAX_BYTES` are read.

    Raises:
        TableError: when there is nothing, no access, too much, or no table with columns and rows.

    """
    return parse_table(_read_bytes(url), display_url(url))


def display_url(url: str) -> str:
    """Give a URL as it may be shown: without user, password, query and fragment, where secrets stand."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        return url
    return SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "").geturl()


def parse_table(content: bytes, name: str) -> pd.DataFrame:
    """Make a table of a file's bytes; `name` is what errors call it.

    Raises:
        TableError: when the bytes are no table, or one without columns or rows.

    """
    if not content.strip():
        raise TableError(f"{name} is empty. Upload a CSV or Parquet file with a header and rows.")
    table = _parse_parquet(content, name) if content.startswith(b"PAR1") else _parse_csv(content, name)
    if table.columns.empty or table.empty:
        raise TableError(f"{name} has no rows. Upload a table with a header and rows.")
    table.columns = table.columns.map(str)
    return table


def _parse_parquet(content: bytes, name: str) -> pd.DataFrame:
    try:
        return pd.read_parquet(io.BytesIO(content))
    except (ValueError, OSError) as error:  # pyarrow's errors are of these two kinds
        raise TableError(f"{name} starts like Parquet and cannot be read as such: {_short(error)}") from error


def _parse_csv(content: bytes, name: str) -> pd.DataFrame:
    what_to_do = "Give the URL of a CSV (UTF-8) or Parquet file."
    if content.startswith(b"\x1f\x8b"):
        raise TableError(f"{name} is compressed with gzip. Unpack it, or write Parquet, which is compressed itself.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{name} is no table: it is neither Parquet nor UTF-8 text. {what_to_do}") from error
    if "\x00" in text or text.lstrip().startswith(("<", "{")):
        raise TableError(f"{name} is no table: it looks like HTML, XML, JSON or binary data. {what_to_do}")
    header = text.lstrip().splitlines()[0]
    delimiter = max(_DELIMITERS, key=header.count)
    try:
        # low_memory=False: the type of a column is found from all of it, not chunk by chunk.
        return pd.read_csv(io.StringIO(text), sep=delimiter, low_memory=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, csv.Error) as error:
        raise TableError(f"{name} is no table: {_short(error)}. {what_to_do}") from error


def _read_bytes(url: str) -> bytes:
    if url.startswith("s3://"):
        # A key is any text: `?`, `#` and `//` in it are not what they are in other URLs.
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return _read_object(bucket, key)
    parts = urlsplit(url)
    match parts.scheme:
        case "http" | "https":
            return _read_http(url)
        case "file":
            return _read_file(Path(parts.path))
        case "":
            return _read_file(Path(url))
        case scheme:
            raise TableError(f"{url}: {scheme}:// is not supported. Use s3://bucket/key, https://… or a file's path.")


def _read_object(bucket: str, key: str) -> bytes:
    url = f"s3://{bucket}/{key}"
    if not bucket or not key:
        raise TableError(f"{url} names no object. Write s3://bucket/key.")
    config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"mode": "standard"})
    try:
        answer = boto3.client("s3", config=config).get_object(Bucket=bucket, Key=key)
        _check_size(int(answer["ContentLength"]), url)
        content: bytes = answer["Body"].read()
    except ClientError as error:
        raise TableError(_object_error(url, bucket, error)) from error
    except BotoCoreError as error:
        raise TableError(f"{url} cannot be read: {_short(error)}. Check the region and the credentials.") from error
    return content


def _object_error(url: str, bucket: str, error: ClientError) -> str:
    code = error.response.get("Error", {}).get("Code", "unknown error")
    match code:
        case "NoSuchKey" | "404":
            return f"{url} does not exist. Check the key (it is case-sensitive), or upload the object."
        case "NoSuchBucket":
            return f"{url} cannot be read: there is no bucket {bucket!r}. Check the bucket's name and region."
        case "AccessDenied" | "403":
            return (
                f"{url} may not be read, or does not exist. "
                "Check the key, and allow the task's role s3:GetObject on it."
            )
        case _:
            return f"{url} cannot be read: S3 answered {code}."


def _read_http(url: str) -> bytes:
    name = display_url(url)
    deadline = time.monotonic() + TOTAL_SECONDS
    with requests.Session() as session:
        for _ in range(MAX_REDIRECTS + 1):
            _check_host(url)
            try:
                with session.get(
                    url, timeout=(CONNECT_SECONDS, READ_SECONDS), stream=True, allow_redirects=False
                ) as answer:
                    if not answer.is_redirect:
                        return _read_body(answer, name, deadline)
                    url = urljoin(url, answer.headers["location"])
            except requests.Timeout as error:
                raise TableError(f"{name} did not answer in time. Try again later, or copy the file to S3.") from error
            except requests.RequestException as error:
                # The library's own text would show the query, where a signature may stand.
                raise TableError(
                    f"{name} cannot be reached ({type(error).__name__}). Check the address, and the task's way out."
                ) from error
    raise TableError(f"{name} redirects more than {MAX_REDIRECTS} times. Give the file's own address.")


def _read_body(answer: requests.Response, name: str, deadline: float) -> bytes:
    if answer.status_code in {401, 403}:
        raise TableError(f"{name} may not be read (HTTP {answer.status_code}). Use a signed URL, or copy it to S3.")
    if answer.status_code in {404, 410}:
        raise TableError(f"{name} does not exist (HTTP {answer.status_code}). Check the address.")
    if not answer.ok:
        raise TableError(f"{name} cannot be read: its server answered HTTP {answer.status_code}. Try again later.")
    _check_size(int(answer.headers.get("content-length") or 0), name)
    content = bytearray()
    for chunk in answer.iter_content(_CHUNK):
        content += chunk
        _check_size(len(content), name)
        if time.monotonic() > deadline:
            raise TableError(f"{name} took longer than {TOTAL_SECONDS:.0f} s to read. Copy the file to S3.")
    return bytes(content)


def _check_host(url: str) -> None:
    """Refuse link-local addresses: there a task finds its own credentials, which no caller may fetch."""
    parts = urlsplit(url)
    name = display_url(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise TableError(f"{name} is no address of a file. Write https://host/path.")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise TableError(f"{name} cannot be reached: its host is not known. Check the address.") from error
    if any(_is_link_local(str(address[4][0])) for address in found):
        raise TableError(f"{name} is a link-local address and is not read.")


def _is_link_local(text: str) -> bool:
    """Tell whether an address is link-local, also one of IPv4 in the clothes of IPv6 (RFC 4291, RFC 6052)."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
        address = address.ipv4_mapped or address.sixtofour or translated or address
    return address.is_link_local


def _read_file(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise TableError(f"{path} is a folder. Give the path of a CSV or Parquet file.")
        _check_size(path.stat().st_size, str(path))
        return path.read_bytes()
    except FileNotFoundError as error:
        raise TableError(
            f"{path} does not exist in the task (working directory {Path.cwd()}). "
            "Give an s3:// or https:// URL, or put the file into the image."
        ) from error
    except PermissionError as error:
        raise TableError(f"{path} may not be read. Check the file's permissions in the image.") from error


def _check_size(size: int, name: str) -> None:
    if size > MAX_BYTES:
        raise TableError(f"{name} is larger than {MAX_BYTES // 1024**2} MiB. Give a smaller table, or sample it.")


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]

"""An S3 server on this machine (moto), in a separate process, for tests of object stores."""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

#: Variables that decide which store and which credentials AWS's libraries use.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_NUMBERS = count()


@dataclass
class Bucket:
    """An empty bucket of the server, new in each test.

    Attributes:
        name: Its name.
        endpoint: Address of the server.
        environment: The variables with which AWS's libraries use the server, set in the test's process too.
        client: A boto3 client.
    """

    name: str
    endpoint: str
    environment: dict[str, str]
    client: Any = field(repr=False)

    def address(self, key: str = "") -> str:
        """Return the address of an object, or of a prefix, in the bucket."""
        return f"s3://{self.name}/{key}"

    def put(self, key: str, content: bytes) -> str:
        """Write an object and return its address."""
        self.client.put_object(Bucket=self.name, Key=key, Body=content)
        return self.address(key)

    def get(self, key: str) -> bytes:
        """Return the content of an object."""
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def delete(self, key: str) -> None:
        """Delete an object."""
        self.client.delete_object(Bucket=self.name, Key=key)

    def keys(self) -> list[str]:
        """Return the keys of all objects, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def moto_server():
    """Address of an S3 server on this machine."""
    pytest.importorskip("moto")
    port = free_port()
    # Without the variables of coverage: the server is not deepscan.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment | CREDENTIALS,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, "the S3 server ended"
                assert time.monotonic() < deadline, "the S3 server does not answer"
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def s3(moto_server, monkeypatch, tmp_path):
    """A new bucket; AWS's libraries use its server and nothing else of this machine's settings."""
    import boto3

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    environment = {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": moto_server,
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=moto_server)
    name = f"bucket-{os.getpid()}-{next(_NUMBERS)}"
    client.create_bucket(Bucket=name)
    return Bucket(name, moto_server, environment, client)


@pytest.fixture
def s3_requests(s3, monkeypatch):
    """Counts the requests to S3 by their kind."""
    import s3fs

    counted, wrapper = Counter(), s3fs.core._error_wrapper

    async def count(call, **options):
        if call.__name__ != "_call_and_read":
            counted[call.__name__] += 1
        return await wrapper(call, **options)

    monkeypatch.setattr(s3fs.core, "_error_wrapper", count)
    return counted

"""The AWS clients of all languages behind one method: an operation by its name, parameters as in the API's JSON, the answer likewise.

A client is given nothing but what its environment says: an endpoint, a region, credentials, an authority's certificate.
"""

import base64
import contextlib
import json
import os
import re
import subprocess
import sys

import awscli
import boto3
from botocore import xform_name
from botocore.exceptions import ClientError

import hydrant

HERE = hydrant.TOP / "tests"


class Failed(Exception):
    """The call failed, and the client told it by a `type` of its own."""

    def __init__(self, kind, message):
        super().__init__(f"{kind}: {message}")
        self.kind = kind


def environment(endpoint, authority=None):
    known = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": hydrant.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": hydrant.SECRET_KEY,
        "AWS_REGION": hydrant.REGION,
        "AWS_DEFAULT_REGION": hydrant.REGION,
        # A test wants the first answer.
        "AWS_MAX_ATTEMPTS": "1",
    }
    if authority:
        known |= dict.fromkeys(("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"), str(authority))
    return known


def with_blobs(value):
    if isinstance(value, list):
        return [with_blobs(one) for one in value]
    if isinstance(value, dict):
        return {key: base64.b64decode(one) if key == "Data" else with_blobs(one) for key, one in value.items()}
    return value


class Boto3:
    """In this process."""

    name = f"boto3 {boto3.__version__}"

    def __init__(self, endpoint, authority=None):
        self.known = {
            "endpoint_url": endpoint,
            "region_name": hydrant.REGION,
            "aws_access_key_id": hydrant.ACCESS_KEY,
            "aws_secret_access_key": hydrant.SECRET_KEY,
            "verify": str(authority) if authority else None,
        }
        self.clients = {}

    def call(self, service, operation, parameters):
        client = self.clients.get(service) or self.clients.setdefault(service, boto3.client(service, **self.known))
        try:
            answer = getattr(client, xform_name(operation))(**with_blobs(parameters))
        except ClientError as error:
            raise Failed(type(error).__name__, str(error)) from None
        if operation != "SubscribeToShard":
            return answer
        with contextlib.closing(answer["EventStream"]) as events:
            return next(event["SubscribeToShardEvent"] for event in events if "SubscribeToShardEvent" in event)

    def close(self):
        return None


class Lines:
    """A client in a process of its own that takes one call a line."""

    def __init__(self, name, variables, *command):
        self.name = name
        self.process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def said(self):
        return json.loads(self.process.stdout.readline() or '{"error": {"type": "none", "message": "the client has ended"}}')

    def call(self, service, operation, parameters):
        line = {"service": service, "operation": operation, "parameters": parameters}
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        said = self.said()
        if "error" in said:
            raise Failed(said["error"]["type"], said["error"]["message"])
        return said["answer"]

    def close(self):
        """The protocols that the client noticed, where it can."""
        self.process.stdin.close()
        last = self.process.stdout.readline()
        assert self.process.wait(timeout=30) == 0
        return json.loads(last)["spoken"] if last else None


def installed(language):
    return subprocess.run([HERE / "servers" / language], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def pinned(file, pattern):
    return re.search(pattern, (HERE / file).read_text())[1]


def aws_cli(endpoint, authority=None):
    command = [sys.executable, HERE / "it/cli_calls.py"]
    return Lines(f"aws-cli {awscli.__version__}", environment(endpoint, authority), *command)


def javascript(endpoint, authority=None):
    version = pinned("servers/javascript-clients/package.json", '"@aws-sdk/client-kinesis": "(.*)"')
    command = ["node", HERE / "it/matrix.mjs", installed("javascript")]
    return Lines(f"JavaScript SDK {version}", environment(endpoint, authority), *command)


def go(endpoint, authority=None):
    version = pinned("it/go/go.mod", r"aws-sdk-go-v2 v(\S+)")
    return Lines(f"Go SDK v2 {version}", environment(endpoint, authority), installed("go"))


def java(endpoint, authority=None):
    version = pinned("servers/java-clients/pom.xml", r"<artifactId>kinesis</artifactId>\s*<version>(.*)</version>")
    options = ["-XX:TieredStopAtLevel=1", "-cp", f"{installed('java')}/*"]
    if authority:
        trusted = authority.with_suffix(".p12")
        store = ["-keystore", trusted, "-storetype", "PKCS12", "-storepass", "trusted"]
        subprocess.run(["keytool", "-importcert", "-noprompt", "-file", authority, *store], check=True, capture_output=True)
        options += [f"-Djavax.net.ssl.trustStore={trusted}", "-Djavax.net.ssl.trustStorePassword=trusted"]
    command = ["java", *options, HERE / "it/Calls.java", endpoint]
    return Lines(f"Java SDK v2 {version}, asynchronous", environment(endpoint, authority), *command)


def rust(endpoint, authority=None):
    version = pinned("it/rust/Cargo.toml", r'aws-sdk-kinesis = { version = "=([^"]*)"')
    return Lines(f"Rust SDK {version}", environment(endpoint, authority), installed("rust"))


# Each by the name of its language, and how it is started.
ALL = {"boto3": Boto3, "aws-cli": aws_cli, "javascript": javascript, "java": java, "go": go, "rust": rust}

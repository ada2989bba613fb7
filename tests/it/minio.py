"""A MinIO server of the test's own, by tests/servers/minio; and its buckets through boto3."""

import os
import subprocess
import urllib.request
from pathlib import Path

import boto3
import botocore.config

import hydrant

SCRIPT = hydrant.TOP / "tests" / "servers" / "minio"
ACCESS_KEY, SECRET_KEY = "hydrant", "hydrant-secret"


def s3_client(endpoint):
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 3}),
    )


class Minio:
    def __init__(self, directory):
        self.directory = directory
        self.endpoint = None
        self.again = None

    def start(self):
        done = subprocess.run([SCRIPT, "start", self.directory], stdout=subprocess.PIPE, text=True, check=True, timeout=900)
        answers = dict(line.split(" ", 1) for line in done.stdout.splitlines())
        self.endpoint = answers["endpoint"]
        return self

    def start_again_at(self, endpoint):
        """The same data on the same port: the script picks a free port, so here the server is started on the known one."""
        binary = subprocess.run(
            [SCRIPT.with_name("install-minio")], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
        directory = Path(self.directory)
        with open(directory / "minio.log", "ab") as log:
            process = subprocess.Popen(
                [binary, "server", "--quiet", "--address", endpoint.removeprefix("http://"), directory / "data"],
                env={**os.environ, "MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_BROWSER": "off"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.again = process
        self.endpoint = endpoint
        hydrant.wait_until("MinIO lives again", self.is_alive)

    def is_alive(self):
        try:
            with urllib.request.urlopen(f"{self.endpoint}/minio/health/live", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self):
        """kill -9, of one that was started again."""
        self.again.kill()
        self.again.wait()
        self.again = None

    def stop(self):
        if self.again is not None:
            self.again.terminate()
            self.again.wait(30)
            self.again = None
        subprocess.run([SCRIPT, "stop", self.directory], check=True, timeout=60)

    @property
    def client(self):
        return s3_client(self.endpoint)

    def connection(self):
        """The `s3:` section of a YAML."""
        return {
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "access_key_id": "env:HYDRANT_TEST_S3_KEY",
            "secret_access_key": "env:HYDRANT_TEST_S3_SECRET",
        }

    @staticmethod
    def environment():
        return {"HYDRANT_TEST_S3_KEY": ACCESS_KEY, "HYDRANT_TEST_S3_SECRET": SECRET_KEY}

    def make_bucket(self, name):
        self.client.create_bucket(Bucket=name)
        return name

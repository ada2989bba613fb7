"""A MinIO server of the test's own, by tests/servers/minio; and its buckets through boto3."""

import subprocess

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

    def start(self):
        done = subprocess.run([SCRIPT, "start", self.directory], stdout=subprocess.PIPE, text=True, check=True, timeout=900)
        answers = dict(line.split(" ", 1) for line in done.stdout.splitlines())
        self.endpoint = answers["endpoint"]
        return self

    def stop(self):
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

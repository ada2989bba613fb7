"""The AWS SDK for Java, which speaks CBOR to Kinesis unless it is told not to."""

import os
import subprocess

import hydrant


def test_the_java_sdk_by_cbor(daemon_of):
    installed = subprocess.run([hydrant.TOP / "tests/servers/java"], check=True, capture_output=True, text=True)
    jars = installed.stdout.strip()
    daemon = daemon_of([]).start()
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": hydrant.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": hydrant.SECRET_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    source = hydrant.TOP / "tests/it/KinesisByCbor.java"
    ran = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", source, daemon.endpoint],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines() == [
        "failed 0, shard shardId-000000000000",
        "a 256 true true",
        "b 0 false true",
        "c 1048576 false true",
        "created true, ACTIVE",
        f"Stream nobody under account {hydrant.ACCOUNT} not found. true",
        "application/x-amz-cbor-1.1",
    ]
    daemon.stop()

"""A destination that goes away, or is not there yet: nothing lost, nothing twice, and few words about it."""

import json
import socket

import clients
import hydrant
import lake
from minio import Minio


def stream(bucket, interval="1 s"):
    return {
        "name": "events",
        "buffering": {"size": "1 MiB", "interval": interval},
        "destination": {"s3": {"bucket": bucket, "prefix": "data/!{timestamp:yyyy}/",
                               "error_output_prefix": "errors/!{firehose:error-output-type}/"}},
    }  # fmt: skip


def event(number):
    return json.dumps({"id": str(number), "number": number, "pad": "x" * 300}).encode()


def check(client, bucket, numbers):
    names = {str(number) for number in numbers}
    data, errors = lake.split_errors(lake.in_bucket(client, bucket))
    assert not errors, errors
    assert lake.judge(data, names, names, lambda row: row["id"], lambda row: ("one", row["number"])) == []


def complaints(daemon):
    """Lines of the log above INFO."""
    return [line for line in daemon.log().splitlines() if "WARN" in line or "ERROR" in line or '"level":"warn' in line.lower()]


def test_minio_is_stopped_and_started_again(daemon_of, tmp_path):
    server = Minio(tmp_path / "minio").start()
    try:
        bucket = server.make_bucket("outage")
        # The port is kept over the outage, for the daemon's YAML names it.
        daemon = daemon_of([stream(bucket)], s3=server.connection(), environment=server.environment()).start()
        client = clients.firehose(daemon)
        clients.put_all(client, "events", map(event, range(2000)))
        hydrant.wait_until("something is delivered", lambda: daemon.accounting("events")["delivered"] > 0)
        endpoint = server.endpoint
        server.stop()
        before = len(complaints(daemon))
        for number in range(2000, 12000, 1000):
            clients.put_all(client, "events", map(event, range(number, number + 1000)))
        backlog = daemon.accounting("events")["backlog"]
        assert backlog >= 9000, "nothing can have been delivered"
        hydrant.wait_until("the log tells of the outage", lambda: len(complaints(daemon)) > before)
        server.start_again_at(endpoint)
        counters = daemon.wait_drained("events", seconds=180)
        assert counters["stored"] == counters["delivered"] == 12000
        said = complaints(daemon)[before:]
        assert len(said) <= 5, f"{len(said)} complaints, such as {said[:5]}"
        check(server.client, bucket, range(12000))
    finally:
        server.stop()


def test_a_restart_during_an_outage_loses_nothing(daemon_of, tmp_path):
    server = Minio(tmp_path / "minio").start()
    try:
        bucket, endpoint = server.make_bucket("restart"), server.endpoint
        daemon = daemon_of([stream(bucket)], s3=server.connection(), environment=server.environment()).start()
        client = clients.firehose(daemon)
        server.stop()
        clients.put_all(client, "events", map(event, range(3000)))
        daemon.kill()
        # It starts, is ready and takes records although the destination is away.
        daemon.start()
        clients.put_all(client, "events", map(event, range(3000, 5000)))
        server.start_again_at(endpoint)
        assert daemon.wait_drained("events", seconds=180)["delivered"] == 5000
        check(server.client, bucket, range(5000))
    finally:
        server.stop()


def test_a_bucket_that_is_made_later(daemon_of, minio):
    daemon = daemon_of([stream("made-later")], s3=minio.connection(), environment=minio.environment()).start()
    clients.put_all(clients.firehose(daemon), "events", map(event, range(1000)))
    hydrant.wait_until("the log names the bucket", lambda: any("made-later" in line for line in complaints(daemon)))
    assert daemon.accounting("events")["backlog"] == 1000
    minio.make_bucket("made-later")
    assert daemon.wait_drained("events", seconds=180)["delivered"] == 1000
    check(minio.client, "made-later", range(1000))


def test_wrong_keys_wait_and_lose_nothing(daemon_of, minio, bucket):
    wrong = {**minio.environment(), "HYDRANT_TEST_S3_SECRET": "not-the-secret"}
    daemon = daemon_of([stream(bucket)], s3=minio.connection(), environment=wrong).start()
    clients.put_all(clients.firehose(daemon), "events", map(event, range(1000)))
    hydrant.wait_until("the log tells what is wrong", lambda: complaints(daemon))
    assert "SignatureDoesNotMatch" in daemon.log() and "not-the-secret" not in daemon.log(), daemon.log_tail()
    assert daemon.accounting("events")["backlog"] == 1000
    daemon.kill()
    daemon.environment.update(minio.environment())
    daemon.start()
    assert daemon.wait_drained("events")["delivered"] == 1000
    check(minio.client, bucket, range(1000))


def test_a_stream_that_left_the_yaml_is_not_forgotten(daemon_of, minio, bucket, tmp_path):
    """Records that were acked do not vanish with a line of YAML."""
    daemon = daemon_of([stream("never-made", "900 s")], s3=minio.connection(), environment=minio.environment()).start()
    clients.put_all(clients.firehose(daemon), "events", map(event, range(100)))
    daemon.kill()
    other = {**stream(bucket), "name": "other"}
    daemon.config["delivery_streams"] = [other]
    daemon.write_config()
    daemon.spawn()
    status = daemon.process.wait(60)
    daemon.process = None
    assert status == 78 and "100 of its records" in daemon.log() and "--discard-backlog events" in daemon.log(), daemon.log_tail()
    # Put back, they are there; with the operator's word they go.
    daemon.config["delivery_streams"] = [stream(bucket), other]
    daemon.write_config()
    daemon.start()
    assert daemon.wait_drained("events")["delivered"] == 100
    check(minio.client, bucket, range(100))
    daemon.stop()
    daemon.config["delivery_streams"] = [other]
    daemon.write_config()
    daemon.start()
    daemon.stop()


def test_no_half_sent_request_holds_up_a_stop(daemon_of, tmp_path):
    here = {"name": "events", "destination": {"file": {"directory": str(tmp_path / "lake")}}}
    daemon = daemon_of([here]).start()
    clients.put_all(clients.firehose(daemon), "events", [b"buffered for a minute"])
    peers = [socket.create_connection(("127.0.0.1", port)) for port in (daemon.api_port, daemon.admin_port)]
    for peer in peers:
        peer.sendall(b"GET /st")
    daemon.stop(seconds=50)
    [found] = lake.in_directory(tmp_path / "lake")
    assert found.lines() == [b"buffered for a minute"]
    for peer in peers:
        peer.close()

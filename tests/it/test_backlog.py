"""A backlog that is as large as it may be: producers are refused before harm, others are not, and all of it recovers by itself."""

import json

import botocore.exceptions

import clients
import hydrant

RECORD = b"x" * 500_000


def stream(name, directory, **more):
    destination = {"file": {"directory": str(directory)}}
    return {"name": name, "buffering": {"interval": "0 s", "size": "1 MiB"}, "destination": destination, **more}


def status_of(daemon, name):
    status, body = daemon.admin("/status")
    assert status == 200
    return next(one for one in json.loads(body)["delivery_streams"] if one["name"] == name)


def refusals(daemon):
    _, body = daemon.admin("/metrics")
    lines = [line for line in body.decode().splitlines() if 'reason="backlog"' in line]
    return int(lines[0].split()[-1])


def test_producers_are_refused_at_the_limit_and_taken_again_when_it_is_delivered(daemon_of, tmp_path):
    lake = tmp_path / "lake"
    lake.write_text("a file where the directory should be")
    daemon = daemon_of([stream("down", lake, backlog_max="16 MiB"), stream("well", tmp_path / "other")]).start()
    client = clients.firehose(daemon)
    acked = 0

    def refused():
        nonlocal acked
        try:
            client.put_record_batch(DeliveryStreamName="down", Records=[{"Data": RECORD}] * 4)
            acked += 4
            return None
        except botocore.exceptions.ClientError as error:
            return error

    error = hydrant.wait_until("a producer is refused", refused, interval=0.1)
    assert error.response["Error"]["Code"] == "ServiceUnavailableException"
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert "backlog_max" in error.response["Error"]["Message"]
    assert acked * len(RECORD) >= 16 << 20, "not before the limit"
    told = status_of(daemon, "down")
    assert told["backlog_bytes"] >= 16 << 20 and told["warning"].startswith("producers are refused")
    assert refusals(daemon) >= 1
    client.put_record(DeliveryStreamName="well", Record={"Data": b"others do not notice"})
    out = hydrant.command("status", "-c", daemon.config_file)[1]
    assert "down: warning: producers are refused" in out

    # A restart knows what waits from before.
    daemon.kill()
    daemon.start()
    hydrant.wait_until("it is refused again", refused, interval=0.1)
    lake.unlink()
    daemon.wait_drained("down")

    def taken():
        return client.put_record(DeliveryStreamName="down", Record={"Data": b"after that"})["RecordId"]

    def again():
        try:
            return taken()
        except botocore.exceptions.ClientError:
            return None

    client = clients.firehose(daemon)
    hydrant.wait_until("producers are taken again", again)
    hydrant.wait_until("the warning goes", lambda: status_of(daemon, "down")["warning"] is None)
    counters = daemon.wait_drained("down")
    assert counters["delivered"] == counters["stored"] == acked + 1


def test_a_delivery_stream_that_nobody_puts_to_has_no_limit(tmp_path):
    config = tmp_path / "hydrant.yaml"
    text = {
        "streams": [{"name": "clicks"}],
        "delivery_streams": [
            stream("one", tmp_path / "lake", from_stream={"name": "clicks"}, backlog_max="1 GiB"),
        ],
    }
    config.write_text(json.dumps(text))
    status, _, said = hydrant.command("check", "--offline", "-c", config)
    assert status == 78 and "backlog_max" in said and "got 1 GiB" in said

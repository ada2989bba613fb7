"""SIGHUP: delivery streams change and come while producers go on; a file that cannot be followed changes nothing."""

import base64
import json
import signal
import threading

import clients
import hydrant
import lake

PLUGIN = hydrant.TOP / "examples/plugins/access_log.wasm"


def stream(directory, name="clicks", **more):
    return {
        "name": name,
        "buffering": {"size": "1 MiB", "interval": "1 s"},
        "destination": {"file": {"directory": str(directory)}},
        **more,
    }


def put(daemon, numbers, name="clicks"):
    records = [{"Data": base64.b64encode(b'{"n": %d}' % number).decode()} for number in numbers]
    status, answer = clients.Signer(daemon).post("PutRecordBatch", {"DeliveryStreamName": name, "Records": records})
    assert status == 200 and answer["FailedPutCount"] == 0, answer


def reload(daemon, streams, expected):
    """Writes the file, sends SIGHUP and waits for what the log says to it."""
    daemon.config["delivery_streams"] = streams
    daemon.write_config()
    hang_up(daemon, *expected)


def hang_up(daemon, *expected):
    before = len(daemon.log())
    daemon.process.send_signal(signal.SIGHUP)

    def told():
        lines = [line for line in daemon.log()[before:].splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if "reloaded" in line] and "".join(lines)

    text = hydrant.wait_until("the reload is told", told)
    for part in expected:
        assert part in text, text


def numbers_in(*directories):
    return sorted(row["n"] for directory in directories for found in lake.in_directory(directory) for row in found.rows())


def test_producers_notice_nothing_and_every_record_is_delivered_once(daemon_of, tmp_path):
    old, new, other = tmp_path / "old", tmp_path / "new", tmp_path / "other"
    daemon = daemon_of([stream(old)]).start()
    stop, sent, problems = threading.Event(), [], []

    def produce():
        try:
            while not stop.is_set():
                numbers = range(len(sent), len(sent) + 50)
                put(daemon, numbers)
                sent.extend(numbers)
        except Exception as problem:
            problems.append(problem)

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        hydrant.wait_until("something is delivered", lambda: daemon.accounting("clicks")["delivered"] > 0)
        changed = stream(new, format={"lines": {"compression": "gzip"}}, buffering={"size": "1 MiB", "interval": "2 s"})
        reload(daemon, [changed, stream(other, "more")], ["reloaded: the delivery streams go on"])
        put(daemon, range(5), "more")
        hydrant.wait_until("something is delivered to the new place", lambda: list(new.rglob("*.gz")))
    finally:
        stop.set()
        producer.join()
    assert not problems, problems
    daemon.wait_drained("clicks")
    daemon.wait_drained("more")
    assert numbers_in(old, new) == sent
    assert numbers_in(other) == list(range(5))
    # A restart finds what the reload left.
    daemon.kill()
    daemon.start()
    put(daemon, range(5, 10), "more")
    daemon.stop()
    assert numbers_in(other) == list(range(10)) and numbers_in(old, new) == sent


def test_a_file_that_cannot_be_followed_changes_nothing(daemon_of, tmp_path):
    daemon = daemon_of([stream(tmp_path / "lake"), stream(tmp_path / "second", "second")]).start()
    good = json.loads(daemon.config_file.read_text())

    def refused(*expected, delivery_streams=good["delivery_streams"], **top_level):
        daemon.config = {**good, **top_level, "delivery_streams": delivery_streams}
        daemon.write_config()
        hang_up(daemon, "not reloaded", *expected)
        put(daemon, [1])

    first, second = good["delivery_streams"]
    moved = {**first, "destination": {"file": {"directory": str(tmp_path / "elsewhere")}}}
    refused("`memory` changed", "restart the daemon", "Nothing was changed", memory="300 MiB")
    refused("`memory`, `limits` changed", memory="300 MiB", limits={"shards": 7})
    # Every section but the delivery streams.
    sections = {
        "data_dir_encrypted": True,
        "account": "123456789013",
        "credentials": [*good["credentials"], {"access_key_id": "AKIAOTHER", "secret_access_key": "env:HYDRANT_TEST_SECRET"}],
        "s3": {"region": "eu-west-1"},
        "lambda": {"arn:aws:lambda:us-east-1:123456789012:function:f": {"plugin": str(PLUGIN)}},
        "glue": {"web.access": {"columns": {"n": "int"}}},
        "opensearch": {"arn:aws:es:us-east-1:123456789012:domain/d": {"endpoint": "http://127.0.0.1:9"}},
        "streams": [{"name": "clicks", "shards": 1}],
    }
    for name, value in sections.items():
        refused(f"`{name}` changed", **{name: value})
    refused("delivery stream `second` is not in the configuration any more", delivery_streams=[moved])
    refused("`region` of delivery stream `second` changed", delivery_streams=[moved, {**second, "region": "eu-west-1"}])
    refused("`log.compression` of delivery stream `second`", delivery_streams=[moved, {**second, "log": {"compression": "zstd"}}])
    refused("delivery_streams[1].buffering.interval", "2 years", delivery_streams=[moved, {**second, "buffering": {"interval": "2 years"}}])
    plugin = {"plugins": [{"path": str(tmp_path / "missing.wasm")}]}
    refused("missing.wasm", delivery_streams=[moved, {**second, "processing": plugin}])
    daemon.config_file.write_text("delivery_streams: [\n")
    hang_up(daemon, "not reloaded", "hydrant.yaml:")
    put(daemon, [1])
    daemon.config_file.unlink()
    hang_up(daemon, "not reloaded", "cannot be read")
    put(daemon, [1])
    daemon.wait_drained("clicks")
    assert numbers_in(tmp_path / "lake") == [1] * 17 and not (tmp_path / "elsewhere").exists()
    daemon.config = good
    daemon.write_config()
    hang_up(daemon, "reloaded: the delivery streams go on", "streams=2")


def test_a_name_that_the_api_has_given_is_not_taken_by_a_reload(daemon_of, tmp_path):
    first = stream(tmp_path / "lake")
    store = {"endpoint": "http://127.0.0.1:9", "region": "us-east-1", "access_key_id": "plain:any", "secret_access_key": "plain:any"}
    daemon = daemon_of([first], s3=store).start()
    role = f"arn:aws:iam::{hydrant.ACCOUNT}:role/firehose"
    request = {"DeliveryStreamName": "taken",
               "ExtendedS3DestinationConfiguration": {"RoleARN": role, "BucketARN": "arn:aws:s3:::bucket"}}  # fmt: skip
    status, answer = clients.Signer(daemon).post("CreateDeliveryStream", request)
    assert status == 200, answer
    for _ in range(2):
        taken = "there is a delivery stream named `taken`"
        reload(daemon, [first, stream(tmp_path / "second", "taken")], ["not reloaded", taken])
    put(daemon, [1])
    reload(daemon, [first, stream(tmp_path / "second", "free")], ["reloaded: the delivery streams go on"])
    put(daemon, [2], "free")
    daemon.wait_drained("free")
    assert numbers_in(tmp_path / "second") == [2]
    daemon.kill()
    daemon.start()
    daemon.wait_drained("clicks")
    assert numbers_in(tmp_path / "lake") == [1]

"""`hydrant explain` while the daemon runs and after it was killed: what it says is held against the objects themselves."""

import hashlib
import json

import clients
import hydrant
import lake
import test_sources


def explain(daemon, *what):
    """Exit status, the answer, and what was said beside it."""
    status, out, said = hydrant.command("explain", *what, "--json", "-c", daemon.config_file)
    return status, json.loads(out) if out else None, said


def put(client, stream, bodies):
    """The RecordId of each."""
    answer = client.put_record_batch(DeliveryStreamName=stream, Records=[{"Data": body} for body in bodies])
    assert answer["FailedPutCount"] == 0
    return [response["RecordId"] for response in answer["RequestResponses"]]


def said_and_found(daemon, directory, record_id):
    """The line at which a record is said to be, read from the object."""
    status, answers, said = explain(daemon, record_id)
    assert status == 0, said
    (answer,) = answers
    (place,) = [place for place in answer["places"] if place["holds"] == "records"]
    body = (directory / place["key"]).read_bytes()
    assert hashlib.sha256(body).hexdigest() == place["sha256"]
    return answer, lake.Object(place["key"], body).lines()[place["position"] - 1]


def test_a_record_id_leads_to_the_line_and_back(daemon_of, tmp_path):
    directory = tmp_path / "lake"
    stream = {
        "name": "events",
        "buffering": {"interval": "1 s"},
        "partitioning": {"jq": {"kind": ".kind"}},
        "format": {"lines": {"compression": "gzip"}},
        "destination": {
            "file": {
                "directory": str(directory),
                "prefix": "data/kind=!{partitionKeyFromQuery:kind}/",
                "error_output_prefix": "errors/!{firehose:error-output-type}/",
            }
        },
    }
    daemon = daemon_of([stream]).start()
    client = clients.firehose(daemon)
    bodies = [json.dumps({"kind": f"k{n % 7}", "n": n}).encode() + b"\n" for n in range(300)]
    bodies[100] = b"no json\n"
    ids = put(client, "events", bodies)
    daemon.wait_drained("events")

    for n in (0, 1, 99, 150, 299):
        answer, line = said_and_found(daemon, directory, ids[n])
        assert (answer["delivery_stream"], answer["state"], line) == ("events", "delivered", bodies[n].strip())
    status, (failed,), _ = explain(daemon, ids[100])
    assert (status, failed["state"], failed["places"][0]["holds"]) == (0, "failed", "errors")

    key = answer["places"][0]["key"]
    for name in (key, f"s3://any/{key}", directory / key):
        status, (found,), _ = explain(daemon, name)
        assert (status, found["object"]["sha256"]) == (0, answer["places"][0]["sha256"])
    lines = lake.Object(key, (directory / key).read_bytes()).lines()
    assert found["object"]["records"] == len(lines)
    numbers = [json.loads(line)["n"] for line in lines]
    assert (found["object"]["first"], found["object"]["last"]) == (numbers[0] + 1, numbers[-1] + 1)

    daemon.kill()
    assert said_and_found(daemon, directory, ids[299])[1] == bodies[299].strip(), "a killed daemon forgets nothing"
    status, out, _ = hydrant.command("explain", "300", "-c", daemon.config_file)
    assert status == 0 and out.startswith("record 300 of events: delivered\n") and "line" in out
    daemon.start()
    daemon.stop()
    assert said_and_found(daemon, directory, ids[0])[1] == bodies[0].strip()


def test_what_is_not_known_is_said_to_be_so(daemon_of, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the directory should be")
    streams = [
        {
            "name": name,
            "buffering": {"interval": "0 s"},
            "history": {"retention": "0 s"},
            "destination": {"file": {"directory": str(directory)}},
        }
        for name, directory in (("forgets", tmp_path / "lake"), ("stuck", blocked))
    ]
    daemon = daemon_of(streams).start()
    client = clients.firehose(daemon)
    (gone,), (waiting,) = put(client, "forgets", [b"one"]), put(client, "stuck", [b"one"])
    daemon.wait_drained("forgets")
    status, (answer,), said = explain(daemon, gone)
    assert (status, answer["state"]) == (1, "forgotten") and "not known" in said
    hydrant.wait_until("it is staged", lambda: explain(daemon, waiting)[1][0]["state"] == "staged")
    status, (answer,), _ = explain(daemon, waiting)
    assert status == 0 and answer["places"][0]["key"] and answer["chunk"]["done_ms"] is None

    status, answers, said = explain(daemon, "no/such/object")
    assert (status, answers) == (1, []) and "history" in said
    status, _, said = explain(daemon, "7")
    assert status == 2 and "--stream" in said
    status, (answer,), _ = explain(daemon, "7", "--stream", "stuck")
    assert (status, answer["state"]) == (1, "not_stored")
    assert explain(daemon, "0")[0] == 2 and explain(daemon, "1", "--stream", "nobody")[0] == 2
    assert hydrant.command("explain", gone, "--data-dir", tmp_path)[0] == 2, "no data directory"
    blocked.unlink()
    daemon.wait_drained("stuck")


def test_a_sequence_number_leads_to_every_delivery_stream_that_reads_it(daemon_of, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    streams = [test_sources.from_yaml(directory, start="trim_horizon") for directory in (one, two)]
    daemon = daemon_of(streams)
    daemon.config["streams"] = [{"name": "clicks", "shards": 2}]
    daemon.write_config()
    daemon.start()
    client = test_sources.kinesis(daemon)
    numbers = [
        client.put_record(StreamName="clicks", PartitionKey=f"key-{n}", Data=json.dumps({"n": n}).encode())["SequenceNumber"]
        for n in range(8)
    ]
    for directory in (one, two):
        test_sources.delivered_once(daemon, directory, range(8))
    for n, number in enumerate(numbers):
        status, answers, said = explain(daemon, number)
        assert status == 0 and sorted(answer["delivery_stream"] for answer in answers) == ["one", "two"], said
        for answer in answers:
            (place,) = answer["places"]
            lines = (tmp_path / answer["delivery_stream"] / place["key"]).read_text().splitlines()
            assert json.loads(lines[place["position"] - 1]) == {"n": n}
    assert explain(daemon, numbers[0], "--stream", "two")[1][0]["delivery_stream"] == "two"


def test_a_failed_record_tells_of_its_replay(daemon_of, tmp_path):
    """Put again it fails once more, as another record; that one is delivered when the delivery stream asks for less."""
    place = {"directory": str(tmp_path / "lake"), "error_output_prefix": "errors/"}
    strict = {"name": "events", "buffering": {"interval": "0 s"}, "partitioning": {"jq": {"kind": ".kind"}},
              "destination": {"file": {**place, "prefix": "kind=!{partitionKeyFromQuery:kind}/"}}}  # fmt: skip
    daemon = daemon_of([strict]).start()
    client = clients.firehose(daemon)
    (failed,) = put(client, "events", [b"no json\n"])
    assert daemon.wait_drained("events")["failed"] == 1
    status, (answer,), _ = explain(daemon, failed)
    assert (status, answer["state"]) == (0, "failed") and "replays" not in answer
    status, out, err = hydrant.command("replay", "events", "-c", daemon.config_file, environment=daemon.environment)
    assert status == 0, out + err
    assert daemon.wait_drained("events")["failed"] == 2
    daemon.stop()

    lax = {"name": "events", "buffering": {"interval": "0 s"}, "destination": {"file": place}}
    daemon = daemon_of([lax], data_dir=daemon.data_dir)
    status, out, err = hydrant.command("replay", "events", "--to-destination", "-c", daemon.config_file)
    assert status == 0, out + err
    for record, replayed, said in ((failed, "put_again", "was put again by"), ("2", "delivered", "was delivered by")):
        status, (answer,), _ = explain(daemon, record, "--stream", "events")
        (replay,), (place,) = answer["replays"], answer["places"]
        assert (status, answer["state"], replay["replayed"]) == (0, "failed", replayed), answer
        assert (replay["error_object"], replay["line"]) == (place["key"], place["position"])
        status, out, _ = hydrant.command("explain", record, "--stream", "events", "-c", daemon.config_file)
        assert status == 0 and f"its line 1 {said} `hydrant replay" in out, out

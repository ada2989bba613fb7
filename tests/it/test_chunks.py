"""Chunks that can never be delivered: what an operator decides is done, and counted."""

import json

import clients
import hydrant
import test_sources


def chunk(daemon, *arguments):
    return hydrant.command("chunk", *arguments, "-c", daemon.config_file)


def lines_below(directory):
    return sorted(line for path in directory.rglob("*") if path.is_file() for line in path.read_text().splitlines())


def staged(daemon):
    _, body = daemon.admin("/status")
    return json.loads(body)["delivery_streams"][0]


def test_what_an_operator_decides_is_done_and_counted(daemon_of, tmp_path):
    lake, elsewhere = tmp_path / "lake", tmp_path / "elsewhere"
    lake.write_text("a file where the directory should be")
    stream = {"name": "events", "buffering": {"interval": "0 s"}, "destination": {"file": {"directory": str(lake)}}}
    daemon = daemon_of([stream]).start()
    client = clients.firehose(daemon)
    for chunks in (1, 2):
        clients.put_all(client, "events", [f"{chunks}-{number}".encode() for number in range(10)])
        hydrant.wait_until("a chunk is staged", lambda: staged(daemon)["staged_chunks"] >= chunks)
    hydrant.wait_until("the problem is told", lambda: staged(daemon)["problem"])
    # To look is always possible, to decide is not while the daemon runs.
    status, out, said = chunk(daemon, "list", "--json")
    online = json.loads(out)
    assert status == 0 and len(online) >= 2 and all(row["oldest_ms"] for row in online), said
    for decision in (("discard", "events", "1"), ("redirect", "events", "1", "--directory", elsewhere)):
        status, _, said = chunk(daemon, *decision)
        assert status == 1 and "in use" in said and "stop" in said, said
    daemon.kill()

    status, out, said = chunk(daemon, "list", "--json")
    assert status == 0, said
    found = [row["chunk"] for row in json.loads(out)]
    assert found[: len(online)] == [row["chunk"] for row in online]
    assert len(found) >= 2 and found[0]["from"] == 1
    records = [one["to"] - one["from"] + 1 for one in found]
    assert sum(records) == 20
    status, out, said = chunk(daemon, "redirect", "events", found[0]["chunk"], "--directory", elsewhere)
    assert (status, out) == (0, f"chunk {found[0]['chunk']}: 1 objects are written to file {elsewhere}, 0 are at their own place\n"), said
    for one, count in zip(found[1:], records[1:]):
        status, out, said = chunk(daemon, "discard", "events", one["chunk"])
        assert status == 0 and f"{count} records" in out, said
    status, _, said = chunk(daemon, "discard", "events", found[0]["chunk"])
    assert status == 2 and "hydrant chunk list" in said
    assert chunk(daemon, "discard", "nothing", 1)[0] == 2
    assert "| events" in chunk(daemon, "list")[1]

    lake.unlink()
    daemon.start()
    counters = daemon.wait_drained("events")
    assert (counters["delivered"], counters["discarded"]) == (records[0], 20 - records[0])
    clients.put_all(clients.firehose(daemon), "events", [b"later"])
    hydrant.wait_until("the next one is delivered", lambda: daemon.accounting("events")["delivered"] > records[0])
    daemon.stop()
    assert len(lines_below(elsewhere)) == records[0]
    [path] = [path for path in elsewhere.rglob("*") if path.is_file()]
    status, out, said = hydrant.command("explain", str(path), "-c", daemon.config_file)
    assert status == 0 and f"file:{elsewhere}" in out, out + said
    status, out, said = hydrant.command("explain", "1", "--stream", "events", "-c", daemon.config_file)
    assert status == 0 and "redirected by an operator" in out and path.name in out, out + said
    assert lines_below(lake) == ["later"]
    assert chunk(daemon, "list")[1] == "no chunk is open\n"


def test_chunks_of_what_reads_a_kinesis_stream_are_listed_too(daemon_of, tmp_path):
    one, two, own = (tmp_path / name for name in ("one", "two", "own"))
    for blocked in (one, two, own):
        blocked.write_text("a file where the directory should be")
    streams = [test_sources.from_yaml(directory, start="trim_horizon") for directory in (one, two)]
    streams.append({"name": "own", "buffering": {"interval": "0 s"}, "destination": {"file": {"directory": str(own)}}})
    daemon = daemon_of(streams)
    daemon.config["streams"] = [{"name": "clicks", "shards": 2}]
    daemon.write_config()
    daemon.start()
    test_sources.put(test_sources.kinesis(daemon), range(50))
    clients.put_all(clients.firehose(daemon), "own", [b"own"])

    def all_staged():
        _, body = daemon.admin("/status")
        return all(one["staged_chunks"] for one in json.loads(body)["delivery_streams"])

    hydrant.wait_until("a chunk of each is staged", all_staged)
    daemon.kill()
    status, out, said = chunk(daemon, "list", "--json")
    assert status == 0, said
    rows = json.loads(out)
    assert sorted({row["delivery_stream"] for row in rows}) == ["one", "own", "two"]
    given_up = sum(row["chunk"]["counts"]["delivered"] for row in rows if row["delivery_stream"] == "one")
    for row in rows:
        if row["delivery_stream"] == "one":
            assert chunk(daemon, "discard", "one", row["chunk"]["chunk"])[0] == 0
    for blocked in (one, two, own):
        blocked.unlink()
    daemon.start()
    assert daemon.wait_drained("two")["delivered"] == 50
    counters = daemon.wait_drained("one")
    assert (counters["discarded"], counters["delivered"]) == (given_up, 50 - given_up)

"""Chunks that can never be delivered: what an operator decides is done, and counted."""

import json

import clients
import hydrant


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
    status, _, said = chunk(daemon, "list")
    assert status != 0 and "in use" in said, "the daemon is running"
    daemon.kill()

    status, out, said = chunk(daemon, "list", "--json")
    assert status == 0, said
    found = [row["chunk"] for row in json.loads(out)]
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
    assert lines_below(lake) == ["later"]
    assert chunk(daemon, "list")[1] == "no chunk is open\n"

"""`hydrant replay --to-destination` into a real OpenSearch: documents that failed are made under the ids that they had."""

import json

import clients
import lake
from opensearch import Proxy
from test_opensearch import failed, stream
from test_replay_destination import replay


def ids(server, index):
    server.call("POST", f"{index}/_refresh")
    found = server.call("GET", f"{index}/_search?size=10000")["hits"]["hits"]
    return sorted(hit["_id"] for hit in found)


def test_what_was_refused_is_made_once_under_its_own_id(server, daemon_of, tmp_path):
    strict = {"mappings": {"properties": {"number": {"type": "long"}}}}
    server.call("PUT", "again", strict)
    backup = tmp_path / "backup"
    daemon = daemon_of([stream(server.endpoint, "again", backup, index_rotation="none")]).start()
    bad = [json.dumps({"id": str(n), "number": f"no number {n}"}).encode() for n in range(500)]
    hopeless = [b"text", b"[1]"]
    clients.put_all(clients.firehose(daemon), "events", bad + hopeless)
    assert daemon.wait_drained("events")["failed"] == 502
    status, summary, err = replay(daemon)
    assert (status, summary["replayed"], summary["refused"]) == (1, 0, 502), err
    assert "no number" in err and "records=500" in err.replace('"', ""), err
    # The mapping is mended; some of the answers are lost.
    server.call("DELETE", "again")
    server.call("PUT", "again", {"mappings": {"properties": {"number": {"type": "keyword"}}}})
    with Proxy(server, lambda number: "lost" if number == 0 else None) as proxy:
        daemon.stop()
        daemon.config["delivery_streams"] = [stream(proxy.endpoint, "again", backup, index_rotation="none")]
        daemon.write_config()
        status, summary, err = replay(daemon)
        assert (status, summary["replayed"], summary["refused"]) == (1, 500, 2), err
        # A repeat that remembers nothing finds them.
        status, summary, err = replay(daemon, "--journal", tmp_path / "journal")
        assert (status, summary["replayed"], summary["refused"]) == (1, 500, 2), err
    rows = failed(backup)
    assert len(rows) == 502, "what fails again stays where it is"
    assert ids(server, "again") == sorted(row["esDocumentId"] for data, row in rows if data not in hopeless)
    lake.same_multiset([source["id"] for _, source in server.documents("again")], [str(n) for n in range(500)])

"""`hydrant log`: what it says of a data directory that a kill -9 left, of a running daemon's, and of a damaged one; and that it
changes nothing there."""

import base64
import json

import pytest

import clients
import hydrant

STREAM = "orders"
OK, USAGE, CORRUPT = 0, 2, 65
RECORDS = [f"record {number}".encode() for number in range(50)]


@pytest.fixture
def daemon(daemon_of, tmp_path):
    """Holds RECORDS, undelivered."""
    streams = [
        {
            "name": STREAM,
            "buffering": {"size": "64 MiB", "interval": "900 s"},
            "destination": {"file": {"directory": str(tmp_path / "lake")}},
        }
    ]
    daemon = daemon_of(streams).start()
    acked = clients.Signer(daemon).put_batch(STREAM, RECORDS)
    assert len(acked) == len(RECORDS)
    return daemon


def log(daemon, *arguments):
    return hydrant.command("log", *arguments, "-c", daemon.config_file)


def state(directory):
    """Every name, its bytes and when they were written."""
    files = sorted(path for path in directory.rglob("*"))
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None) for path in files}


def all_commands(daemon):
    return [
        log(daemon, "inspect"),
        log(daemon, "inspect", STREAM),
        log(daemon, "inspect", "--json"),
        log(daemon, "verify"),
        log(daemon, "verify", STREAM, "--json"),
        log(daemon, "dump", STREAM),
    ]


def segment(daemon):
    (directory,) = (daemon.data_dir / "streams").iterdir()
    return max(directory.glob("*.seg"))


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 4]))


def test_after_kill_all_is_whole_and_nothing_changes(daemon):
    daemon.kill_alive()
    before = state(daemon.data_dir)
    for status, out, err in all_commands(daemon):
        assert status == OK and out, err
    assert state(daemon.data_dir) == before

    status, out, err = log(daemon, "inspect", "--json")
    logs = {one["name"]: one for one in json.loads(out)["logs"]}
    assert set(logs) == {"catalog", STREAM, f"journal/{STREAM}"}, err
    assert logs[STREAM]["records"] == len(RECORDS) and logs[STREAM]["opening"] == "whole"
    assert not logs[STREAM]["closed"] and logs[STREAM]["damage"] == []
    daemon.start()
    assert daemon.accounting(STREAM)["backlog"] == len(RECORDS)


def test_beside_a_running_daemon(daemon):
    for status, out, err in all_commands(daemon):
        assert status == OK and out, err
    clients.Signer(daemon).put_batch(STREAM, [b"one more"])
    status, out, _ = log(daemon, "dump", STREAM, "--raw")
    assert status == OK and out.splitlines()[-1] == "one more"


def test_dump_selects_and_prints(daemon):
    daemon.kill_alive()
    status, out, err = log(daemon, "dump", STREAM, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == OK, err
    assert [base64.b64decode(line["data"]) for line in lines] == RECORDS
    assert [line["lsn"] for line in lines] == list(range(1, len(RECORDS) + 1))
    status, out, _ = log(daemon, "dump", STREAM, "--raw", "--from", 5, "--to", 9, "--limit", 3)
    assert status == OK and out.encode().splitlines() == RECORDS[4:7]
    assert log(daemon, "dump", STREAM, "--raw", "--shard", 1)[:2] == (OK, "")
    arrived = lines[0]["arrived_at"]
    assert log(daemon, "dump", STREAM, "--raw", "--until", arrived)[:2] == (OK, "")
    assert log(daemon, "dump", STREAM, "--raw", "--since", arrived)[1].encode().splitlines() == RECORDS
    status, out, _ = log(daemon, "dump", STREAM, "--limit", 1)
    assert 'lsn=1 ' in out and 'data="record 0"' in out and arrived in out
    status, out, _ = log(daemon, "dump", "catalog", "--raw")
    assert status == OK and json.loads(out.splitlines()[-1])["streams"][0]["name"] == STREAM
    status, out, _ = log(daemon, "dump", f"journal/{STREAM}", "--limit", 1)
    assert status == OK and "snapshot" in out


def test_rot_is_65_with_the_range_of_lsns(daemon):
    clients.Signer(daemon).put_batch(STREAM, [b"another commit"])
    daemon.kill_alive()
    path = segment(daemon)
    flip(path, path.read_bytes().index(b"record 7"))
    before = state(daemon.data_dir)
    status, out, err = log(daemon, "verify")
    assert status == CORRUPT and f"`{STREAM}`" in err, (out, err)
    assert f"LSNs 1 to {len(RECORDS)} cannot be read" in out and str(path) in out, out
    status, out, err = log(daemon, "verify", STREAM, "--json")
    (found,) = json.loads(out)["logs"]
    assert status == CORRUPT and found["opening"] == "corrupt"
    (damage,) = found["damage"]
    assert (damage["first_lsn"], damage["next_lsn"], damage["stops_opening"]) == (1, len(RECORDS) + 1, True)
    assert log(daemon, "inspect")[0] == CORRUPT
    assert log(daemon, "verify", "catalog", f"journal/{STREAM}")[0] == OK, "the others are whole"
    status, out, err = log(daemon, "dump", STREAM, "--raw")
    assert status == CORRUPT and out == "another commit\n", "what can be read is printed"
    assert state(daemon.data_dir) == before


def test_a_torn_tail_is_0_with_a_note(daemon):
    daemon.kill_alive()
    path = segment(daemon)
    flip(path, path.read_bytes().index(b"record 7"))
    status, out, err = log(daemon, "verify")
    assert status == OK and "torn tail" in out, (out, err)


def test_a_lost_catalog_leaves_the_ids(daemon):
    daemon.kill_alive()
    for path in (daemon.data_dir / "catalog").glob("*.seg"):
        flip(path, 100)
    (directory,) = (daemon.data_dir / "streams").iterdir()
    assert log(daemon, "verify")[0] == CORRUPT
    for name in (directory.name, f"streams/{directory.name}", directory):
        status, out, err = log(daemon, "dump", name, "--raw", "--limit", 1)
        assert status == OK and out == "record 0\n", err


def test_wrong_use_is_2_and_says_what_there_is(daemon, tmp_path):
    daemon.kill_alive()
    status, out, err = log(daemon, "dump", "ordres")
    assert status == USAGE and "`ordres`" in err and f"catalog, {STREAM}, journal/{STREAM}" in err and out == ""
    status, _, err = hydrant.command("log", "verify", "--data-dir", tmp_path)
    assert status == USAGE and "STORE" in err and "--data-dir" in err
    for wrong in (["--since", "yesterday"], ["--from", "0"], ["--raw", "--json"]):
        assert log(daemon, "dump", STREAM, *wrong)[0] == USAGE, wrong
    assert hydrant.command("log", "verify", "--data-dir", daemon.data_dir, "-c", "x")[0] == USAGE
    assert hydrant.command("log", "verify", "--data-dir", daemon.data_dir)[0] == OK

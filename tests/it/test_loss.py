"""Damage to what was synced: told before anything starts, given up by name, and counted; all else is delivered exactly once."""

import hydrant
from test_store import CORRUPT, STREAM, refused, stream

import clients


def put(daemon, numbers):
    records = [{"Data": clients.base64.b64encode(b'{"id": %d}\n' % number).decode()} for number in numbers]
    status, answer = clients.Signer(daemon).post("PutRecordBatch", {"DeliveryStreamName": STREAM, "Records": records})
    assert status == 200 and answer["FailedPutCount"] == 0, answer


def test_lost_records_are_counted_and_the_rest_is_delivered(daemon_of, tmp_path):
    daemon = daemon_of([stream(tmp_path)]).start()
    for start in (100, 200, 300):
        put(daemon, range(start, start + 10))
    daemon.kill()
    segment = sorted((daemon.data_dir / "streams").glob("*/*.seg"))[-1]
    damaged = segment.read_bytes().replace(b'{"id": 205}', b'{"id": ???}', 1)
    segment.write_bytes(damaged)
    refused(daemon, CORRUPT, f"delivery stream `{STREAM}`", "LSNs 11 to 20 were stored and cannot be read", f"--accept-loss {STREAM}")
    assert segment.read_bytes() == damaged, "nothing was changed"
    daemon.start("--accept-loss", STREAM)
    assert daemon.accounting(STREAM)["stored"] == 30
    daemon.stop()
    daemon.start()
    counters = daemon.accounting(STREAM)
    assert (counters["stored"], counters["delivered"], counters["lost"], counters["backlog"]) == (30, 20, 10, 0)
    assert f'hydrant_lost_records{{delivery_stream="{STREAM}"}} 10' in daemon.admin("/metrics")[1].decode()
    assert "first=11 last=20 records=10" in daemon.log(), daemon.log_tail()
    status, out, _ = hydrant.command("status", "-c", daemon.config_file)
    assert status == 0 and " lost " in out, out
    daemon.stop()
    lines = [line for path in (tmp_path / "lake").rglob("*") if path.is_file() for line in path.read_text().split()]
    ids = sorted(int(number) for number in "".join(lines).replace('{"id":', " ").replace("}", " ").split())
    assert ids == [*range(100, 110), *range(300, 310)]


def test_a_log_that_lost_its_end_is_given_up_as_far_as_the_journal_names(daemon_of, tmp_path):
    soon = {**stream(tmp_path), "buffering": {"size": "1 MiB", "interval": "1 s"}}
    daemon = daemon_of([soon]).start()
    put(daemon, range(100, 110))
    put(daemon, range(200, 210))
    daemon.wait_drained(STREAM)
    daemon.kill()
    segment = sorted((daemon.data_dir / "streams").glob("*/*.seg"))[-1]
    # As if the device had never had the last group.
    content = segment.read_bytes()
    start = content.rindex(b"HFRM")
    segment.write_bytes(content[:start] + bytes(len(content) - start))
    refused(daemon, CORRUPT, f"delivery stream `{STREAM}`", f"--accept-loss {STREAM}")
    daemon.start("--accept-loss", STREAM)
    put(daemon, range(300, 310))
    daemon.stop()
    lines = [line for path in (tmp_path / "lake").rglob("*") if path.is_file() for line in path.read_text().split()]
    ids = sorted(int(number) for number in "".join(lines).replace('{"id":', " ").replace("}", " ").split())
    assert ids == [*range(100, 110), *range(200, 210), *range(300, 310)], "what was delivered stays so, and what is new is"

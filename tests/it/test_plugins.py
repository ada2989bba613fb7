"""A plugin that traps, loops, eats memory or answers nonsense costs its own records and nobody else's."""

import os


import pytest

import clients
import hydrant
import lake

GUEST = hydrant.TOP / "plugins" / "tests" / "guests" / "misbehave.wasm"


def stream(tmp_path, **limits):
    plugin = {"path": str(GUEST), "memory": "16 MiB", "cpu_per_batch": "500 ms", **limits}
    return {
        "name": "events",
        "buffering": {"size": "1 MiB", "interval": "1 s"},
        "processing": {"plugins": [plugin]},
        "destination": {"file": {"directory": str(tmp_path / "lake"), "prefix": "data/!{timestamp:yyyy}/",
                                 "error_output_prefix": "errors/!{firehose:error-output-type}/"}},
    }  # fmt: skip


@pytest.mark.parametrize("poison", ["trap", "loop", "grow", "stack", "big 512"])
def test_one_poison_record_costs_only_itself(daemon_of, tmp_path, poison):
    daemon = daemon_of([stream(tmp_path)]).start()
    good = [f"good {number}".encode() for number in range(300)]
    client = clients.firehose(daemon)
    clients.put_all(client, "events", good[:150] + [poison.encode()] + good[150:])
    counters = daemon.wait_drained("events")
    data, errors = lake.split_errors(lake.in_directory(tmp_path / "lake"))
    lake.same_multiset([line for found in data for line in found.lines()], good)
    [(original, fields)] = lake.failed_records(errors)
    assert original == poison.encode() and fields["errorCode"].startswith("Lambda."), fields
    assert (counters["delivered"], counters["failed"], counters["dropped"]) == (300, 1, 0)
    assert daemon.is_ready()
    daemon.stop()


def test_the_plugins_own_verdicts(daemon_of, tmp_path):
    daemon = daemon_of([stream(tmp_path)]).start()
    clients.put_all(clients.firehose(daemon), "events", [b"good", b"drop", b"fail because I say so", b"stream"])
    counters = daemon.wait_drained("events")
    data, errors = lake.split_errors(lake.in_directory(tmp_path / "lake"))
    lake.same_multiset([line for found in data for line in found.lines()], [b"good", b"events"])
    [(original, fields)] = lake.failed_records(errors)
    assert original == b"fail because I say so" and "because I say so" in fields["errorMessage"], fields
    assert (counters["stored"], counters["delivered"], counters["failed"], counters["dropped"]) == (4, 2, 1, 1)


def test_memory_of_the_daemon_stays_below_its_ceiling(daemon_of, tmp_path):
    """Leaking guests are thrown away, not collected."""
    daemon = daemon_of([stream(tmp_path)], memory="256 MiB").start()
    client = clients.firehose(daemon)
    for _ in range(30):
        clients.put_all(client, "events", [b"leak 10"] * 20)
    daemon.wait_drained("events")
    fields = dict(line.split(":", 1) for line in open(f"/proc/{daemon.process.pid}/status"))
    peak_kib = int(fields["VmHWM"].split()[0])
    print(f"peak {peak_kib // 1024} MiB, page size {os.sysconf('SC_PAGE_SIZE')}")
    assert peak_kib < 1024 * 1024



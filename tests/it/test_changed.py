"""What is different between a crash and the next start: the YAML, a plugin, the clock, the space on the disk.

The destination refuses until chunks are staged, then the daemon is killed. What was staged arrives under its old names with its
old bytes, which are compared with the staged files of the crash; what was not is done by the new settings.
"""

import glob
import shutil

import pytest

import clients
import fault_proxy as by
import hydrant
import lake
import proof
from fault_proxy import FaultProxy, error
from test_disk_full import fill, small_disk  # noqa: F401, a fixture
from test_faults_s3 import is_put
from test_plugins import GUEST
from weblog import PLUGIN

STAGED_MAX = 4
BATCH = 400
COLUMNS = {"id": "string", "number": "bigint", "kind": "string", "pad": "string"}


def record(number):
    return proof.record(number, kind=f"k{number % 8}")


def stream(name, bucket, old="old", **more):
    return {
        "name": name,
        "buffering": {"size": "1 MiB", "interval": "0 s"},
        "destination": {"s3": {"bucket": bucket, "prefix": f"{name}/{old}/!{{timestamp:yyyy}}/", "error_output_prefix": f"errors/{name}/"}},
        **more,
    }  # fmt: skip


class Crash:
    """A daemon that was killed with chunks staged and records behind them, and the destination that comes back."""

    def __init__(self, daemon_of, minio, bucket, streams, **options):
        self.minio, self.bucket, self.closed = minio, bucket, True
        refuse = by.answers(error(503, "SlowDown"))
        self.proxy = FaultProxy(minio.endpoint, lambda number: refuse if self.closed else None, is_put)
        self.streams = {spec["name"]: spec for spec in streams}
        connection = {**minio.connection(), "endpoint": self.proxy.endpoint}
        self.daemon = daemon_of(streams, s3=connection, environment=minio.environment(), **options)
        self.told = proof.Told(self.daemon)
        self.staged = {}

    def __enter__(self):
        self.proxy.__enter__()
        self.daemon.start()
        for name in self.streams:
            while proof.status(self.daemon, name)["staged_chunks"] < STAGED_MAX:
                self.told.put(name, BATCH, record)
            self.told.put(name, BATCH, record)
        self.daemon.kill_alive()
        # All in one: an object is in it with its name, or it was not staged.
        self.staged = proof.staged_bytes(self.daemon.data_dir)
        assert self.objects() == [], "nothing was taken before the crash"
        return self

    def __exit__(self, *problem):
        self.proxy.__exit__(*problem)

    def start_changed(self):
        self.daemon.write_config()
        self.closed = False
        self.daemon.start()
        for name in self.streams:
            self.told.put(name, BATCH, record)

    def objects(self):
        return lake.in_bucket(self.minio.client, self.bucket)

    def judge(self, name, fails=lambda number: False, old="old"):
        """What was staged, and what was not: objects, data and error ones. `fails` says of which records the new settings make errors."""
        self.daemon.wait_drained(name)
        mine = [found for found in self.objects() if found.key.startswith((f"{name}/", f"errors/{name}/"))]
        before = [found for found in mine if found.key.encode() in self.staged]
        after = [found for found in mine if found.key.encode() not in self.staged]
        assert len(before) >= STAGED_MAX and after, (len(before), len(after))
        for found in before:
            assert found.key.startswith(f"{name}/{old}/"), found.key
            assert found.body in self.staged, f"{found.key} has other bytes than were staged"
        numbers = sorted(row["number"] for found in before for row in found.rows())
        assert numbers == list(range(len(numbers))), "the staged chunks are the first ones"
        names = self.told.names(name)
        failed = {number for number in names if int(number) >= len(numbers) and fails(int(number))}
        proof.judge(self.daemon, name, mine, names, failed)
        return before, lake.split_errors(after)


def test_the_yaml_and_a_plugin_are_changed(daemon_of, minio, bucket, tmp_path):
    plugin = tmp_path / "plugin.wasm"
    shutil.copy(GUEST, plugin)
    partitioned = stream("partitions", bucket, partitioning={"jq": {"kind": ".kind"}, "partitions_max": 8})
    partitioned["destination"]["s3"]["prefix"] = "partitions/old/kind=!{partitionKeyFromQuery:kind}/"
    streams = [
        stream("prefix", bucket),
        stream("format", bucket),
        stream("compression", bucket, format={"lines": {"compression": "gzip"}}),
        stream("buffering", bucket),
        partitioned,
        stream("plugin", bucket, processing={"plugins": [{"path": str(plugin)}]}),
        stream("everything", bucket),
    ]
    with Crash(daemon_of, minio, bucket, streams) as crash:
        parquet = {"parquet": {"columns": COLUMNS, "compression": "zstd"}}
        for name in ("prefix", "everything"):
            crash.streams[name]["destination"]["s3"]["prefix"] = f"{name}/new/!{{timestamp:MM}}/"
        for name in ("format", "everything"):
            crash.streams[name]["format"] = parquet
        del crash.streams["compression"]["format"]
        for name in ("buffering", "everything"):
            crash.streams[name]["buffering"] = {"size": "2 MiB", "interval": "1 s"}
        partitioned["partitioning"]["partitions_max"] = 2
        # Its path stays, and the other one takes no JSON.
        shutil.copy(PLUGIN, plugin)
        crash.start_changed()

        _, (new, _) = crash.judge("prefix")
        assert all(found.key.startswith("prefix/new/") for found in new), new
        before, (new, _) = crash.judge("format")
        assert {found.body[:4] for found in new} == {b"PAR1"} and all(found.body[:4] != b"PAR1" for found in before)
        before, (new, _) = crash.judge("compression")
        assert {found.body[:2] for found in before} == {b"\x1f\x8b"} and {found.body[:2] for found in new} == {b'{"'}
        crash.judge("buffering")
        before, (new, errors) = crash.judge("partitions", fails=lambda number: number % 8 > 1)
        assert len({found.partition["kind"] for found in before}) == 8
        assert {found.partition["kind"] for found in new} == {"k0", "k1"}
        _, (new, errors) = crash.judge("plugin", fails=lambda number: True)
        assert new == [] and {row["errorCode"] for _, row in lake.failed_records(errors)} == {"Lambda.ProcessingFailedStatus"}
        _, (new, _) = crash.judge("everything")
        assert all(found.key.startswith("everything/new/") and found.body[:4] == b"PAR1" for found in new), new


def moved(minutes):
    """The environment of a process whose clock is so many minutes on."""
    libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    assert libraries, "this test moves a clock: apt-get install faketime"
    return {"LD_PRELOAD": libraries[0], "FAKETIME": f"{minutes:+}m", "DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.parametrize("minutes", [10, -10])
def test_the_clock_has_moved(daemon_of, minio, bucket, minutes):
    """Not by more, for a store takes no signature of another hour."""
    with Crash(daemon_of, minio, bucket, [stream("clock", bucket)]) as crash:
        crash.daemon.environment.update(moved(minutes))
        crash.start_changed()
        before, (after, _) = crash.judge("clock")
        # The names tell when the oldest record arrived.
        minute = lambda found: int(found.key.split("clock-1-")[1][14:16])
        assert any((minute(found) - minute(before[0]) - minutes) % 60 in (0, 1, 2, 3) for found in after), (before[0].key, after)


def test_a_clock_that_no_store_believes_is_told_and_waited_for(daemon_of, minio, bucket):
    with Crash(daemon_of, minio, bucket, [stream("hours", bucket)]) as crash:
        crash.closed = False
        # Nor does the API take a signature from a clock that is another: what is in the log has to do.
        crash.daemon.environment.update(moved(120))
        crash.daemon.start()
        problem = lambda: proof.status(crash.daemon, "hours")["problem"] or ""
        hydrant.wait_until("the clock is told of", lambda: "RequestTimeTooSkewed" in problem() and "set the clock" in problem())
        assert crash.objects() == []
        crash.daemon.kill_alive()
        crash.daemon.environment.update(moved(0))
        crash.start_changed()
        crash.judge("hours")


def test_the_disk_is_full_at_the_restart(daemon_of, minio, bucket, small_disk):  # noqa: F811
    ballast = small_disk / "ballast"
    with Crash(daemon_of, minio, bucket, [stream("full", bucket)], data_dir=small_disk / "data") as crash:
        fill(ballast)
        crash.closed = False
        crash.daemon.start()
        before = proof.status(crash.daemon, "full")["stored"]
        crash.daemon.wait_drained("full")
        ballast.unlink()
        assert before == crash.told.numbers["full"], "all that was acked is known"
        hydrant.wait_until("records are taken again", lambda: takes(crash))
        crash.judge("full")


def takes(crash):
    """Whether the next records are acked. A disk that is full refuses a request whole, before anything is written."""
    start = crash.told.numbers["full"]
    records = [record(number) for number in range(start, start + BATCH)]
    acked = len(clients.Signer(crash.daemon).put_batch("full", records))
    assert acked in (0, BATCH), acked
    crash.told.numbers["full"] = start + acked
    return acked

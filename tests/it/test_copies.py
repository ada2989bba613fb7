"""Two daemons where there should be one: on one data directory, on a copy of it, on a snapshot of before that was restored.

No object is ever overwritten and no new record is taken for one that was delivered. What was stored and not staged when the copy
was made is in both, so both deliver it: nothing else is twice.
"""

import collections
import re
import shutil
import signal
import subprocess

import fault_proxy as by
import hydrant
import lake
import proof
from fault_proxy import FaultProxy, error
from test_faults_s3 import is_put
from test_store import RUNTIME

NAME = "events"
STAGED_MAX = 4
BATCH = 300


def stream(bucket, name=NAME):
    return {
        "name": name,
        "buffering": {"size": "1 MiB", "interval": "0 s"},
        "destination": {"s3": {"bucket": bucket, "prefix": "data/!{timestamp:yyyy}/", "error_output_prefix": "errors/"}},
    }


class Writer:
    """Numbered records to whichever daemon; a name says who sent it, and when."""

    def __init__(self):
        self.sent = collections.defaultdict(set)

    def put(self, daemon, who, count=BATCH, stream=NAME):
        told = proof.Told(daemon)
        start = len(self.sent[who])
        told.put(stream, count, lambda number: proof.record(start + number, name=f"{who}-{start + number}"))
        self.sent[who] |= {f"{who}-{start + number}" for number in range(count)}

    def all(self):
        return set().union(*self.sent.values())


def names(objects):
    return collections.Counter(row["name"] for found in objects for row in found.rows())


def bodies(minio, bucket):
    return {found.key: found.body for found in lake.in_bucket(minio.client, bucket)}


def versions(minio, bucket):
    """Whatever a write would change, the same bytes or not."""
    listed = minio.client.list_object_versions(Bucket=bucket)
    assert not listed["IsTruncated"]
    return {(one["Key"], one["VersionId"]): (one["ETag"], one["LastModified"]) for one in listed["Versions"]}


def versioned(minio, bucket):
    minio.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def copy(source, target):
    subprocess.run(["cp", "-a", source, target], check=True)


class Gate:
    """A way to MinIO that is shut at first."""

    def __init__(self, minio):
        self.open = False
        refuse = by.answers(error(503, "SlowDown"))
        self.proxy = FaultProxy(minio.endpoint, lambda number: None if self.open else refuse, is_put)

    def __enter__(self):
        self.proxy.__enter__()
        return self

    def __exit__(self, *problem):
        self.proxy.__exit__(*problem)

    def connection(self, minio):
        return {**minio.connection(), "endpoint": self.proxy.endpoint}


def stage_and_fall_behind(daemon, writer):
    """As many chunks as may be are staged, and there are records behind them."""
    while proof.status(daemon, NAME)["staged_chunks"] < STAGED_MAX:
        writer.put(daemon, "staged")
    writer.put(daemon, "behind")


def test_a_second_daemon_on_the_directory_does_no_harm(daemon_of, minio, bucket):
    writer = Writer()
    with Gate(minio) as gate:
        options = {"s3": gate.connection(minio), "environment": minio.environment()}
        daemon = daemon_of([stream(bucket)], **options).start()
        second = daemon_of([stream(bucket)], data_dir=daemon.data_dir, **options)
        for _ in range(3):
            writer.put(daemon, "first")
            refused_with_environment(second)
        gate.open = True
        writer.put(daemon, "first")
        refused_with_environment(second)
        daemon.wait_drained(NAME)
        daemon.stop()
        daemon.start()
        assert daemon.accounting(NAME)["delivered"] == len(writer.all())
    assert names(lake.in_bucket(minio.client, bucket)) == collections.Counter(writer.all())


def refused_with_environment(daemon):
    status, _, said = hydrant.command("run", "-c", daemon.config_file, environment=daemon.environment)
    assert status == RUNTIME and "is in use by another hydrant" in said and "\n  hint: " in said, said


def test_a_daemon_that_was_stopped_wakes_beside_its_successor(daemon_of, minio, bucket):
    """As when a machine is thought to be dead: its data directory is taken over, and then it goes on."""
    versioned(minio, bucket)
    writer = Writer()
    with Gate(minio) as shut, Gate(minio) as way:
        way.open = True
        old = daemon_of([stream(bucket)], s3=shut.connection(minio), environment=minio.environment()).start()
        stage_and_fall_behind(old, writer)
        old.process.send_signal(signal.SIGSTOP)
        new = daemon_of([stream(bucket)], s3=way.connection(minio), environment=minio.environment())
        copy(old.data_dir, new.data_dir)
        status, _, said = hydrant.command("run", "-c", new.config_file, environment=new.environment)
        assert status != 0 and f"start once with `--adopt {new.data_dir}`" in said, said
        behind = not_staged(writer, new.data_dir)
        new.start("--adopt", new.data_dir)
        writer.put(new, "successor")
        new.wait_drained(NAME)
        before, written = bodies(minio, bucket), versions(minio, bucket)
        assert names(lake.in_bucket(minio.client, bucket)) == collections.Counter(writer.all())

        shut.open = True
        old.process.send_signal(signal.SIGCONT)
        writer.put(old, "woken")
        writer.put(new, "successor")
        for daemon in (old, new):
            daemon.wait_drained(NAME)
        check(minio, bucket, writer, before, written, twice=behind)
        # Both count what they have delivered themselves.
        staged_and_behind = len(writer.sent["staged"]) + len(writer.sent["behind"])
        for daemon, own in ((old, "woken"), (new, "successor")):
            assert proof.status(daemon, NAME)["delivered"] == staged_and_behind + len(writer.sent[own])


def not_staged(writer, data_dir):
    """Of what was sent so far, what no outbox holds in this copy: both who have it deliver it."""
    staged = set(re.findall(rb'"name": "([a-z]+-\d+)"', proof.staged_bytes(data_dir)))
    behind = writer.all() - {name.decode() for name in staged}
    assert staged and behind
    return behind


def check(minio, bucket, writer, before, written, twice):
    """No object of before has changed or was written again, everything acked is there, and only `twice` may be there twice."""
    after = bodies(minio, bucket)
    assert before and {key: after.get(key) for key in before} == before
    assert {key: version for key, version in versions(minio, bucket).items() if key in written} == written
    assert len(versions(minio, bucket)) == len(after), "a second version of an object was written"
    found = names(lake.Object(key, body) for key, body in after.items())
    assert set(found) == writer.all(), "nothing is lost, nothing invented"
    many = {name for name, count in found.items() if count > 1}
    assert many <= twice, f"twice: {sorted(many - twice)[:5]}"
    print(f"{len(after)} objects; {len(many)} records twice of the {len(twice)} that were not staged")


def documents_stream(server, backup):
    return {
        "name": "documents",
        "buffering": {"size": "1 MiB", "interval": "0 s"},
        "destination": {"opensearch": {"endpoint": server.endpoint, "index": "restored", "index_rotation": "none"}},
        "backup": {"file": {"directory": str(backup)}},
    }


def test_a_snapshot_of_before_is_restored(daemon_of, minio, bucket, server, tmp_path):
    """The records that come then have the places in the log that others had, and are others."""
    versioned(minio, bucket)
    objects, documents = Writer(), Writer()
    with Gate(minio) as gate:
        streams = [stream(bucket), documents_stream(server, tmp_path / "backup")]
        daemon = daemon_of(streams, s3=gate.connection(minio), environment=minio.environment()).start()
        stage_and_fall_behind(daemon, objects)
        documents.put(daemon, "before", stream="documents")
        daemon.wait_drained("documents")
        # An atomic snapshot of the file system.
        daemon.process.send_signal(signal.SIGSTOP)
        snapshot = tmp_path / "snapshot"
        copy(daemon.data_dir, snapshot)
        behind = not_staged(objects, snapshot)
        daemon.process.send_signal(signal.SIGCONT)
        gate.open = True
        objects.put(daemon, "forgotten", 2 * BATCH)
        documents.put(daemon, "forgotten", 2 * BATCH, stream="documents")
        for name in (NAME, "documents"):
            daemon.wait_drained(name)
        daemon.kill_alive()
        before, written = bodies(minio, bucket), versions(minio, bucket)

        shutil.rmtree(daemon.data_dir)
        copy(snapshot, daemon.data_dir)
        daemon.start("--adopt", daemon.data_dir)
        objects.put(daemon, "new", 2 * BATCH)
        documents.put(daemon, "new", 2 * BATCH, stream="documents")
        for name in (NAME, "documents"):
            daemon.wait_drained(name)
        check(minio, bucket, objects, before, written, twice=behind)
        entry = proof.status(daemon, NAME)
        assert entry["stored"] == entry["delivered"] == len(objects.all()) - len(objects.sent["forgotten"])
        found = collections.Counter(source["name"] for _, source in server.documents("restored"))
        assert found == collections.Counter(documents.all()), "a document has the id of another, or is there twice"
        entry = proof.status(daemon, "documents")
        assert entry["stored"] == entry["delivered"] == len(documents.all()) - len(documents.sent["forgotten"])

"""A device that answers EIO or has lost sectors: the daemon stops, says where, and has every acked record once it is healed."""

import random
import re
import signal
import struct
import threading

import pytest

import hydrant
import lake
from disk import BLOCK, Disk, unavailable
from load import Load

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))

CORRUPT, IO_ERROR = 65, 74
# Seconds. A restart is what recovers, so it must not be kept waiting.
ENDS_WITHIN = 20


@pytest.fixture
def rng():
    return random.Random(hydrant.seed())


@pytest.fixture
def disk(tmp_path):
    with Disk(tmp_path / "machine") as disk:
        yield disk


def stream(directory, interval="1 s"):
    return {
        "name": "events",
        "buffering": {"size": "64 MiB", "interval": interval},
        "destination": {"file": {"directory": str(directory), "error_output_prefix": "errors/!{firehose:error-output-type}/"}},
    }


def pause(seconds):
    threading.Event().wait(seconds)


def ended(daemon, allowed):
    """The exit status, once it has ended by itself, and its last words."""
    process, daemon.process = daemon.process, None
    try:
        status = process.wait(ENDS_WITHIN)
    finally:
        process.kill()
        process.wait()
    said = daemon.log_tail()
    assert status in allowed, f"status {status}\n{said}"
    return status, said


def refused(daemon, allowed):
    """It is started and must refuse."""
    daemon.log_file.unlink(missing_ok=True)
    return ended(daemon.spawn(), allowed)


def judge(daemon, load, directory):
    daemon.config["delivery_streams"] = [stream(directory)]
    daemon.write_config()
    daemon.start()
    counters = daemon.wait_drained("events")
    daemon.stop()
    problems, arrived = load.judge("events", lake.in_directory(directory))
    assert not problems, f"{len(problems)} problems: {problems[:10]}"
    assert counters["stored"] == counters["delivered"] == arrived


@pytest.mark.parametrize("kind", ["write", "flush"])
def test_a_device_that_fails_ends_the_daemon_and_costs_no_acked_record(daemon_of, disk, tmp_path, rng, kind):
    directory, load = tmp_path / "lake", Load(rng, ["events"])
    daemon = daemon_of([stream(directory)], data_dir=disk.mountpoint / "data").start()
    with load.on(daemon):
        pause(rng.uniform(0.3, 1.5))
        disk.refuse(kind)
        _, said = ended(daemon, [IO_ERROR])
    assert "Input/output error" in said, said
    # What was acked on the strength of a failed flush would be gone with the cache.
    disk.freeze()
    disk.cut_power(rng.getrandbits(32), 0.0)
    disk.revive()
    assert load.acked("events")
    judge(daemon, load, directory)


@pytest.mark.parametrize("pattern", ["streams/*/*.seg", "delivery/*/journal/*.seg"])
def test_sectors_that_take_no_write(daemon_of, disk, tmp_path, rng, pattern):
    """Only one file's blocks fail, and nothing is mounted anew: the page cache then shows bytes that the medium never got."""
    directory, load = tmp_path / "lake", Load(rng, ["events"])
    daemon = daemon_of([stream(directory)], data_dir=disk.mountpoint / "data").start()
    with load.on(daemon):
        pause(rng.uniform(0.3, 0.8))

        def harmed():
            # Again, for the log may have rolled before the harm was done.
            disk.refuse("write", disk.places(sorted(daemon.data_dir.glob(pattern))[-1]))
            return daemon.process.poll() is not None

        hydrant.wait_until("the daemon ends", harmed, ENDS_WITHIN, interval=0.3)
        _, said = ended(daemon, [IO_ERROR])
    assert "Input/output error" in said, said
    disk.heal()
    daemon.start()
    with load.on(daemon):
        pause(0.5)
        disk.freeze(1)
        daemon.process.send_signal(signal.SIGKILL)
        disk.cut_power(rng.getrandbits(32), 0.5)
        daemon.kill()
    disk.revive()
    judge(daemon, load, directory)


def segments(daemon):
    found = sorted(daemon.data_dir.glob("streams/*/*.seg"), key=lambda path: path.name)
    assert found
    return found


# A file of each kind, and which of them: a log's newest segment is read in another way than the others.
FILES = {
    "the store's label": ("STORE", 0),
    "the catalog": ("catalog/*.seg", -1),
    "the newest segment of the log": ("streams/*/*.seg", -1),
    "the oldest segment of the log": ("streams/*/*.seg", 0),
    "the journal": ("delivery/*/journal/*.seg", -1),
}
STAGED = "delivery/*/staged/*"


@pytest.fixture
def undelivered(daemon_of, disk, minio, rng):
    """A daemon that was killed with records in its log and chunks staged, its load, and a way to let it deliver."""
    bucket = f"made-later-{rng.getrandbits(32)}"
    events = {
        "name": "events",
        "buffering": {"size": "1 MiB", "interval": "1 s"},
        "destination": {"s3": {"bucket": bucket, "prefix": "data/!{timestamp:yyyy}/",
                               "error_output_prefix": "errors/!{firehose:error-output-type}/"}},
    }  # fmt: skip
    connection = {"s3": minio.connection(), "environment": minio.environment()}
    daemon = daemon_of([events], data_dir=disk.mountpoint / "data", **connection).start()
    load = Load(rng, ["events"])
    with load.on(daemon):
        # Small chunks are staged in the journal; and of two files, the first is whole.
        files = lambda: list(daemon.data_dir.glob(STAGED))
        ready = lambda: len(segments(daemon)) > 1 and "NoSuchBucket" in daemon.log() and len(files()) > 1
        hydrant.wait_until("a staged chunk was tried, others have files, and the log has rolled", ready)
        daemon.kill_alive()

    def deliver():
        minio.make_bucket(bucket)
        daemon.start()
        daemon.wait_drained("events")
        daemon.stop()
        problems, _ = load.judge("events", lake.in_bucket(minio.client, bucket))
        assert not problems, problems[:10]

    return daemon, deliver


def test_what_cannot_be_read_is_never_taken_for_empty(undelivered, disk):
    daemon, deliver = undelivered
    for what, (pattern, which) in FILES.items():
        path = sorted(daemon.data_dir.glob(pattern))[which]
        unreadable = disk.places(path)
        disk.unmount()
        disk.mount()
        disk.refuse("read", unreadable)
        status, said = refused(daemon, [IO_ERROR, CORRUPT])
        print(f"{what}: {status}: {said}")
        assert path.name in said and "Input/output error" in said, f"{what}: {said}"
        disk.heal()
    deliver()


def test_lost_sectors_are_never_taken_for_empty(undelivered, disk):
    daemon, deliver = undelivered
    for what, (pattern, which) in FILES.items():
        path = sorted(daemon.data_dir.glob(pattern))[which]
        places = disk.places(path)
        disk.unmount()
        saved = disk.zero(places)
        disk.mount()
        status, said = refused(daemon, [CORRUPT])
        print(f"{what}: {status}: {said}")
        assert path.name in said, f"{what}: {said}"
        disk.unmount()
        disk.restore(saved)
        disk.mount()
    deliver()


@pytest.mark.parametrize("harm", ["cannot be read", "is lost"])
def test_a_staged_chunk_that_is_not_there_any_more_is_not_sent(undelivered, disk, harm):
    """It is read when it is sent: the daemon says so, or ends, and sends nothing else in its place."""
    daemon, deliver = undelivered
    # All of them, for one is sent after another.
    places = [place for path in daemon.data_dir.glob(STAGED) for place in disk.places(path)]
    disk.unmount()
    saved = disk.zero(places) if harm == "is lost" else []
    disk.mount()
    if harm == "cannot be read":
        disk.refuse("read", places)
    daemon.log_file.unlink()
    daemon.spawn()
    said = lambda: [line for line in daemon.log().splitlines() if "staged" in line or "Input/output error" in line]
    hydrant.wait_until("the chunk is told", lambda: daemon.process.poll() is not None or said())
    print(f"{harm}: {daemon.process.poll()}: {daemon.log_tail()}")
    assert said(), daemon.log_tail()
    assert daemon.process.poll() in (None, IO_ERROR, CORRUPT)
    daemon.kill()
    disk.heal()
    disk.unmount()
    disk.restore(saved)
    disk.mount()
    deliver()


FRAME = struct.Struct("<4sIIIQ")
FRAME_HEADER, SEGMENT_HEADER, ALIGNMENT = 64, 4096, 64


def frames(path):
    """(start, end, first LSN, last LSN, commit) of each frame, by docs/on-disk-format.md."""
    data, at, found = path.read_bytes(), SEGMENT_HEADER, []
    while data[at : at + 4] == b"HFRM":
        _, _, length, _, base = FRAME.unpack_from(data, at)
        (commit,) = struct.unpack_from("<Q", data, at + 40)
        (count,) = struct.unpack_from("<I", data, at + 52)
        end = at + FRAME_HEADER + length
        found.append((at, end, base, base + count - 1, commit))
        at = -(-end // ALIGNMENT) * ALIGNMENT
    return found


@pytest.mark.parametrize("where", ["the newest segment", "a finished segment"])
def test_lost_sectors_of_synced_records_are_named_by_lsn(daemon_of, disk, tmp_path, rng, where):
    directory, load = tmp_path / "lake", Load(rng, ["events"])
    daemon = daemon_of([stream(directory, "900 s")], data_dir=disk.mountpoint / "data").start()
    enough = 1 if where == "the newest segment" else 3
    with load.on(daemon):
        hydrant.wait_until(
            "enough is written", lambda: len(segments(daemon)) >= enough and len(frames(segments(daemon)[-1])) > 20
        )
        daemon.kill_alive()
    for _ in range(3):
        segment = segments(daemon)[-1 if enough == 1 else 0]
        layout = frames(segment)
        # The last commits have nothing behind them that proves that they were synced.
        proved = [frame for frame in layout if frame[4] < layout[-1][4] - 1] if enough == 1 else layout
        first_block = rng.randrange(proved[0][0], proved[-1][1] - BLOCK) // BLOCK + 1
        start, end = first_block * BLOCK, min((first_block + rng.choice([1, 3])) * BLOCK, proved[-1][1] // BLOCK * BLOCK)
        lost = [frame for frame in layout if frame[0] < end and start < frame[1]]
        if start >= end or not lost:
            continue
        places = disk.places(segment, start, end)
        disk.unmount()
        saved = disk.zero(places)
        disk.mount()
        _, said = refused(daemon, [CORRUPT])
        expected = f"LSNs {lost[0][2]} to {lost[-1][3]} "
        assert expected in said and segment.name in said, f"zeros at {start}..{end}, {expected}in {lost}: {said}"
        disk.unmount()
        disk.restore(saved)
        disk.mount()
    judge(daemon, load, directory)

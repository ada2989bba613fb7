"""Power loss on the real kernel: ext4 on a disk with a volatile cache, cut off at random moments under load, then the oracle.

The daemon and its disk lose the power together, the destination does not, as with a store that is another-machine. The
moments are random; HYDRANT_SEED repeats what of the cache survives, not the scheduler.
"""

import random
import signal
import threading

import pytest

import hydrant
import lake
from disk import Disk, unavailable
from load import Load, rounds

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))

CUTS = rounds(usual=5, long=200)
CUTS_PER_VERDICT = 20
STREAMS = ("plain", "partitioned")


@pytest.fixture
def rng():
    return random.Random(hydrant.seed())


@pytest.fixture
def disk(tmp_path):
    with Disk(tmp_path / "machine") as disk:
        yield disk


def streams(directory):
    """`directory` is outside of the disk."""
    common = {"buffering": {"size": "1 MiB", "interval": "1 s"}, "format": {"lines": {"compression": "gzip"}}}
    naming = {"error_output_prefix": "errors/!{firehose:error-output-type}/"}
    return [
        {"name": "plain", **common, "destination": {"file": {"directory": str(directory / "plain"), **naming}}},
        {
            "name": "partitioned",
            **common,
            "partitioning": {"jq": {"kind": ".kind"}},
            "destination": {
                "file": {
                    "directory": str(directory / "partitioned"),
                    "prefix": "kind=!{partitionKeyFromQuery:kind}/",
                    **naming,
                }
            },
        },
    ]


def pause(seconds):
    threading.Event().wait(seconds)


def lose_power(daemon, disk, rng, writes, keep):
    """The disk takes nothing more, then the daemon dies, then the disk forgets."""
    disk.freeze(writes)
    assert daemon.process.poll() is None, f"the daemon ended by itself\n{daemon.log_tail()}"
    # A thread that waits for the disk dies when the disk answers; the others, which may still deliver and ack what is
    # durable already, die here.
    daemon.process.send_signal(signal.SIGKILL)
    lost = disk.cut_power(rng.getrandbits(32), keep)
    daemon.kill()
    return lost


def verdict(daemon, load, directory):
    """Drains, stops, and lets the oracle judge what arrived."""
    counters = {stream: daemon.wait_drained(stream) for stream in STREAMS}
    daemon.stop()
    arrived = {}
    for stream in STREAMS:
        problems, arrived[stream] = load.judge(stream, lake.in_directory(directory / stream))
        assert not problems, f"{stream}: {len(problems)} problems: {problems[:10]}"
    return counters, arrived


def test_power_loss_loses_nothing_that_was_acked(daemon_of, disk, tmp_path, rng):
    lost_writes, delivered = 0, dict.fromkeys(STREAMS, 0)
    load = Load(rng, STREAMS)
    lakes = [tmp_path / "lake"]
    daemon = daemon_of(streams(lakes[0]), data_dir=disk.mountpoint / "data")
    for cut in range(1, CUTS + 1):
        first = cut == 1
        if rng.random() < 0.2 and not first:
            daemon.spawn()  # The power may go while it starts.
        else:
            daemon.start()
        with load.on(daemon):
            pause(rng.choice([0.05, 0.5, 2.0]) * rng.uniform(0.2, 1.0))
            # The first cut surely takes something: a write, before its flush.
            writes, keep = (1, 0.0) if first else (rng.choice([0, 1, 1, 2, 5, 20]), rng.choice([0.0, 0.5, 0.5, 1.0]))
            lost = lose_power(daemon, disk, rng, writes, keep)
        lost_writes += lost["in_cache"] - lost["kept"]
        disk.revive()
        if cut % CUTS_PER_VERDICT == 0 or cut == CUTS:
            daemon.start()
            counters, arrived = verdict(daemon, load, lakes[-1])
            for stream in STREAMS:
                delivered[stream] += arrived[stream]
                assert counters[stream]["stored"] == counters[stream]["delivered"] == delivered[stream], counters
            load.forget()
            # The next part of the run delivers elsewhere, so that the oracle's memory has a bound.
            lakes.append(tmp_path / f"lake-{cut}")
            daemon.config["delivery_streams"] = streams(lakes[-1])
            daemon.write_config()
    disk.check()
    print(f"{CUTS} cuts, {load.acked_ever()} acked, {delivered} delivered, {lost_writes} writes lost with the cache")
    assert load.acked_ever() > CUTS * 20, "too little load to prove anything"
    assert lost_writes > 0, "no cut took anything: the disk is not one with a cache"


def test_an_older_copy_of_the_disk_loses_nothing_of_before_and_takes_nothing_new_for_old(daemon_of, disk, tmp_path, rng):
    """The original goes on after the moment of the copy, so the destination is ahead of the copy that is put to use."""
    directory = tmp_path / "lake"
    load = Load(rng, STREAMS)
    daemon = daemon_of(streams(directory), data_dir=disk.mountpoint / "data").start()
    with load.on(daemon):
        pause(rng.uniform(1.2, 2.0))
        disk.freeze()
        acked = {stream: load.acked(stream) for stream in STREAMS}
        before = contents(directory)
        disk.copy(tmp_path / "copy", rng.getrandbits(32), 0.5)
        disk.heal()
        pause(rng.uniform(1.2, 2.0))
        daemon.kill()
    sent = {stream: load.sent(stream) for stream in STREAMS}
    # What the original was still writing when it was killed is its own, and no object.
    ahead = contents(directory)
    load.forget()
    with Disk(tmp_path / "other-machine", image=tmp_path / "copy") as other:
        restored = daemon_of(streams(directory), data_dir=other.mountpoint / "data").start()
        with load.on(restored):
            pause(1.5)
            restored.stop()
        after = contents(directory)
        for key, body in {**before, **ahead}.items():
            assert after.get(key) == body, f"{key} was changed"
        for stream in STREAMS:
            rows_of = lambda bodies: rows(stream, bodies)
            early, late = rows_of(ahead), rows_of({key: after[key] for key in after.keys() - ahead.keys()})
            fresh = load.acked(stream)
            assert not acked[stream] - early - late, "acked before the copy, and lost"
            assert not fresh - late, "acked by the copy and taken for what the original had delivered"
            assert late <= sent[stream] | load.sent(stream), "invented"
            # A repetition is what the original delivered after the moment of the copy, and nothing else.
            assert not late & rows_of(before), "delivered before the copy was made, and again"
            print(f"{stream}: {len(acked[stream])} acked before, {len(early & late)} repeated, {len(fresh)} acked by the copy")
            assert acked[stream] and fresh


def contents(directory):
    """Finished objects by name."""
    paths = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def rows(stream, bodies):
    """The ids in the objects of one stream; none may be there twice."""
    found = [row["id"] for key, body in bodies.items() if key.startswith(stream) for row in lake.Object(key, body).rows()]
    assert len(found) == len(set(found)), f"{stream}: {len(found) - len(set(found))} records twice"
    return set(found)


def test_a_disk_that_lies_about_its_cache_is_found_out(daemon_of, disk, tmp_path, rng):
    """The oracle can fail: flushes that flush nothing lose what was acked, and no daemon can help it."""
    load = Load(rng, STREAMS)
    daemon = daemon_of(streams(tmp_path / "lake"), data_dir=disk.mountpoint / "data").start()
    daemon.stop()
    disk.unmount()
    disk.lie()
    disk.mount()
    daemon.config["delivery_streams"][0]["buffering"]["interval"] = "900 s"
    daemon.write_config()
    daemon.start()
    with load.on(daemon):
        pause(0.5)
        lose_power(daemon, disk, rng, writes=0, keep=0.0)
    disk.revive()
    daemon.start()
    daemon.stop()
    problems, _ = load.judge("plain", lake.in_directory(tmp_path / "lake" / "plain"))
    assert problems and all(problem.startswith("lost") for problem in problems), problems[:10]

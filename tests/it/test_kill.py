"""kill -9 at random moments under load, then the oracle. The seed is printed; HYDRANT_SEED repeats the moments and the sizes
(not the scheduler), HYDRANT_ROUNDS sets the number of kills."""

import random
import threading
import time
from collections import Counter

import hydrant
import lake
from load import Load, rounds

ROUNDS = rounds(usual=60, long=2000)
# The oracle forgets after so many, so that its memory has a bound.
ROUNDS_PER_VERDICT = 100
# The longest that a kill waits for what it aims at.
PATIENCE = 1.2
STREAMS = ("to-directory", "to-minio")

# What a kill aims at, and the files whose coming or going shows it.
LOG, STAGED = "streams/*", "delivery/*/staged"
AIMS = {
    "start": None,
    "young": None,
    "grown": None,
    "a roll": (LOG, "comes"),
    "a trim": (LOG, "goes"),
    "staging": (STAGED, "comes"),
    "the end of sending": (STAGED, "goes"),
}


def streams(directory, bucket):
    naming = {"error_output_prefix": "errors/!{firehose:error-output-type}/"}
    return [
        {
            "name": "to-directory",
            "buffering": {"size": "1 MiB", "interval": "1 s"},
            "partitioning": {"jq": {"kind": ".kind"}},
            "format": {"lines": {"compression": "gzip"}},
            "destination": {"file": {"directory": str(directory),
                                     "prefix": "kind=!{partitionKeyFromQuery:kind}/", **naming}},
        },
        {
            "name": "to-minio",
            "buffering": {"size": "1 MiB", "interval": "1 s"},
            "format": {"parquet": {"columns": {"id": "string", "producer": "string", "number": "bigint", "pad": "string"},
                                   "compression": "zstd"}},
            "destination": {"s3": {"bucket": bucket, "prefix": "data/!{timestamp:yyyy}/", **naming}},
        },
    ]  # fmt: skip


def pause(seconds):
    threading.Event().wait(seconds)


def kill_in_any_order(rng, *kills):
    """One soon after the other."""
    first, second = rng.sample(kills, 2)
    first()
    pause(rng.choice([0.0, 0.01, 0.3]))
    second()


def files(daemon, where):
    return {path for path in daemon.data_dir.glob(f"{where}/*")}


def catch(daemon, where, what):
    """Waits until a file comes or goes; false if none did."""
    known, deadline = files(daemon, where), time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        now = files(daemon, where)
        if (now - known) if what == "comes" else (known - now):
            return True
        known |= now
        pause(0.001)
    return False


def one_round(daemon, load, rng, aim):
    """A start, load, a kill. Returns whether it was caught at what was aimed at."""
    if aim == "start":
        daemon.spawn()
        pause(rng.uniform(0.0, 0.15))
        daemon.kill_alive()
        return True
    daemon.start()
    caught = True
    with load.on(daemon):
        if aim == "young":
            pause(rng.uniform(0.0, 0.05))
        elif aim == "grown":
            pause(rng.uniform(0.1, 1.6))
        else:
            caught = catch(daemon, *AIMS[aim])
            pause(rng.choice([0.0, 0.002, 0.02]))
        daemon.kill_alive()
    return caught


def verdict(daemon, load, places):
    """Drains, stops, and lets the oracle judge what arrived at the places of the streams."""
    counters = {}
    for stream in STREAMS:
        counters[stream] = daemon.wait_drained(stream)
    daemon.stop()
    arrived = {}
    for stream, read in places.items():
        problems, arrived[stream] = load.judge(stream, read())
        assert not problems, f"{stream}: {len(problems)} problems: {problems[:10]}"
    return counters, arrived


def test_kill_nine_loses_nothing_and_repeats_nothing(daemon_of, tmp_path, minio):
    rng = random.Random(hydrant.seed())
    load = Load(rng, STREAMS)
    daemon = daemon_of([], s3=minio.connection(), environment=minio.environment())
    caught, delivered = Counter(), Counter()
    for first in range(0, ROUNDS, ROUNDS_PER_VERDICT):
        # Each part of a long run has destinations of its own.
        directory, bucket = tmp_path / f"lake-{first}", minio.make_bucket(f"killed-{first}")
        daemon.config["delivery_streams"] = streams(directory, bucket)
        daemon.write_config()
        for number in range(first, min(first + ROUNDS_PER_VERDICT, ROUNDS)):
            # In turn, so that each is aimed at in a short run, too.
            aim = list(AIMS)[number % len(AIMS)]
            caught[aim] += one_round(daemon, load, rng, aim)
        # A kill while it only recovers and delivers, too.
        daemon.start()
        pause(rng.uniform(0.0, 0.5))
        daemon.kill_alive()
        places = {
            "to-directory": lambda: lake.in_directory(directory),
            "to-minio": lambda: lake.in_bucket(minio.client, bucket),
        }
        counters, arrived = verdict(daemon.start(), load, places)
        delivered.update(arrived)
        for stream in STREAMS:
            assert counters[stream]["stored"] == counters[stream]["delivered"] == delivered[stream], counters
        load.forget()
    print(f"{ROUNDS} kills, caught at {dict(caught)}; {load.acked_ever()} acked, {dict(delivered)} delivered")
    assert load.acked_ever() > ROUNDS * 40, "too little load to prove anything"
    assert ROUNDS < 60 or min(caught[aim] for aim in AIMS) > 0, f"never caught at one of them: {caught}"

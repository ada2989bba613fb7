"""kill -9 of the daemon and of MinIO, in any order, under load; then the oracle. The seed is printed; HYDRANT_SEED repeats the
moments and the sizes (not the schedulers), HYDRANT_ROUNDS sets the number of rounds."""

import random

import hydrant
import lake
from load import Load, rounds
from minio import Minio
from test_kill import kill_in_any_order, pause

ROUNDS = rounds(usual=10, long=300)


def stream(bucket):
    return {
        "name": "events",
        "buffering": {"size": "1 MiB", "interval": "0 s"},
        "destination": {"s3": {"bucket": bucket, "prefix": "data/!{timestamp:yyyy}/", "error_output_prefix": "errors/"}},
    }


def one_round(daemon, server, load, rng, endpoint):
    """Both are started, in any order, and killed in any order."""
    store_first = rng.random() < 0.5
    if store_first:
        server.start_again_at(endpoint)
    daemon.start()
    with load.on(daemon):
        if not store_first:
            pause(rng.uniform(0.0, 0.5))
            server.start_again_at(endpoint)
        pause(rng.uniform(0.2, 1.5))
        kill_in_any_order(rng, server.kill, daemon.kill_alive)


def test_both_are_killed_and_each_record_is_there_once(daemon_of, tmp_path):
    rng = random.Random(hydrant.seed())
    load = Load(rng, ["events"], producers=2)
    server = Minio(tmp_path / "minio").start()
    try:
        # The port is kept, for the daemon's YAML names it.
        endpoint, bucket = server.endpoint, server.make_bucket("killed")
        daemon = daemon_of([stream(bucket)], s3=server.connection(), environment=server.environment())
        server.stop()
        for _ in range(ROUNDS):
            one_round(daemon, server, load, rng, endpoint)
        server.start_again_at(endpoint)
        counters = daemon.start().wait_drained("events", seconds=180)
        problems, rows = load.judge("events", lake.in_bucket(server.client, bucket))
        assert not problems, f"{len(problems)} problems: {problems[:10]}"
        assert counters["stored"] == counters["delivered"] == rows >= len(load.acked("events"))
        print(f"{ROUNDS} times both killed; {load.acked_ever()} acked, {rows} delivered")
        assert load.acked_ever() > ROUNDS * 20, "too little load to prove anything"
    finally:
        server.stop()

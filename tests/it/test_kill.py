"""kill -9 at random moments under load, then the oracle. The seed is printed; HYDRANT_SEED repeats the moments and the sizes
(not the scheduler)."""

import http.client
import json
import random
import threading

import clients
import hydrant
import lake

ROUNDS = 200 if hydrant.LONG else 20
PRODUCERS = 4


class Producer:
    """Sends numbered records, each once, and remembers which were acked. A number is never sent again."""

    def __init__(self, name, stream, rng):
        self.name, self.stream, self.rng = name, stream, rng
        self.next = 0
        self.sent, self.acked = set(), set()
        self.problem = None

    def payloads(self):
        for _ in range(self.rng.randint(1, 60)):
            record = {
                "id": f"{self.name}-{self.next}",
                "producer": self.name,
                "number": self.next,
                "kind": f"k{self.next % 3}",
                "pad": self.rng.randbytes(self.rng.randint(0, 400)).hex(),
            }
            self.next += 1
            self.sent.add(record["id"])
            yield record["id"], json.dumps(record).encode()

    def run(self, daemon, stop):
        """Until it is told to stop or the daemon is gone."""
        signer = clients.Signer(daemon)
        try:
            while not stop.is_set():
                names, payloads = zip(*self.payloads())
                for index in signer.put_batch(self.stream, payloads):
                    self.acked.add(names[index])
        except (OSError, http.client.HTTPException):
            pass  # Killed in the middle: sent, and not acked.
        except Exception as problem:  # An answer that no client understands is a finding, not the end of a thread.
            self.problem = problem


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


def one_round(daemon, producers, moment):
    stop = threading.Event()
    threads = [threading.Thread(target=producer.run, args=(daemon, stop)) for producer in producers]
    for thread in threads:
        thread.start()
    threading.Event().wait(moment)
    daemon.kill()
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a producer hangs although the daemon is gone"


def test_kill_nine_loses_nothing_and_repeats_nothing(daemon_of, tmp_path, minio, bucket):
    rng = random.Random(hydrant.seed())
    directory = tmp_path / "lake"
    daemon = daemon_of(streams(directory, bucket), s3=minio.connection(), environment=minio.environment())
    producers = [
        Producer(f"p{number}", ("to-directory", "to-minio")[number % 2], random.Random(rng.random()))
        for number in range(PRODUCERS)
    ]
    for _ in range(ROUNDS):
        daemon.start()
        # Some die young, some after chunks were cut and sent.
        one_round(daemon, producers, rng.choice([0.02, 0.3, 1.5]) * rng.uniform(0.5, 2.0))
        assert [producer.problem for producer in producers] == [None] * PRODUCERS
    # A kill while it only recovers and delivers, too.
    daemon.start()
    threading.Event().wait(rng.uniform(0.0, 0.5))
    daemon.kill()
    daemon.start()
    found = {"to-directory": None, "to-minio": None}
    for stream in found:
        found[stream] = daemon.wait_drained(stream)
    daemon.stop()
    objects = {"to-directory": lake.in_directory(directory), "to-minio": lake.in_bucket(minio.client, bucket)}
    for stream, counters in found.items():
        mine = [producer for producer in producers if producer.stream == stream]
        sent = set().union(*(producer.sent for producer in mine))
        acked = set().union(*(producer.acked for producer in mine))
        data, errors = lake.split_errors(objects[stream])
        print(f"{stream}: {len(sent)} sent, {len(acked)} acked, {counters}, {len(data)} objects")
        assert len(acked) > ROUNDS * 20, "too little load to prove anything"
        assert not errors, errors
        problems = lake.judge(data, sent, acked, lambda row: row["id"], lambda row: (row["producer"], row["number"]))
        assert not problems, f"{len(problems)} problems: {problems[:10]}"
        rows = sum(len(each.rows()) for each in data)
        assert counters["delivered"] == counters["stored"] == rows

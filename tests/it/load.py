"""Load from numbered producers, and the oracle over what arrived: the outside of the kill and power-loss loops."""

import dataclasses
import http.client
import json
import os
import random
import threading
from collections import defaultdict

import clients
import hydrant
import lake


def rounds(usual, long):
    """HYDRANT_ROUNDS sets another number."""
    return int(os.environ.get("HYDRANT_ROUNDS") or (long if hydrant.LONG else usual))


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


class Load:
    """Producers over the streams in turn. `with load.on(daemon):` sends for as long as the block lasts."""

    def __init__(self, rng, streams, producers=4):
        self.producers = [
            Producer(f"p{number}", streams[number % len(streams)], random.Random(rng.random())) for number in range(producers)
        ]
        self.acked_before = 0

    def on(self, daemon):
        return _Sending(self, daemon)

    def acked(self, stream):
        """As of now, also while it sends."""
        return set().union(*(set(producer.acked.copy()) for producer in self.producers if producer.stream == stream))

    def sent(self, stream):
        return set().union(*(producer.sent.copy() for producer in self.producers if producer.stream == stream))

    def judge(self, stream, objects):
        """What is wrong with the objects that arrived of what was sent since `forget`, and how many rows they have."""
        data, errors = lake.split_errors(objects)
        order = lambda row: (row["producer"], row["number"])
        problems = [f"error object {found.key}: {found.body[:300]!r}" for found in errors]
        data = [_Read(found.key, found.rows()) for found in data]
        problems += lake.judge(data, self.sent(stream), self.acked(stream), lambda row: row["id"], order)
        return problems + overlaps(data, order), sum(len(found.rows()) for found in data)

    def forget(self):
        """What was judged need not be remembered; a record of before would now be an invented one."""
        for producer in self.producers:
            self.acked_before += len(producer.acked)
            producer.sent, producer.acked = set(), set()

    def acked_ever(self):
        return self.acked_before + sum(len(producer.acked) for producer in self.producers)


def overlaps(objects, order):
    """Chunks tile the log, so of one producer and partition no two objects hold numbers that interleave."""
    spans = defaultdict(list)
    for found in objects:
        numbers = defaultdict(list)
        for row in found.rows():
            producer, number = order(row)
            numbers[producer].append(number)
        partition = found.key.rpartition("/")[0]
        for producer, mine in numbers.items():
            spans[partition, producer].append((min(mine), max(mine), found.key))
    problems = []
    for (_, producer), mine in spans.items():
        mine.sort()
        for (_, end, earlier), (start, _, later) in zip(mine, mine[1:]):
            if start <= end:
                problems.append(f"reordered: of {producer}, {later} begins with {start}, and {earlier} ends with {end}")
    return problems


@dataclasses.dataclass(frozen=True)
class _Read:
    """An object of the lake whose rows are read once."""

    key: str
    read: list

    def rows(self):
        return self.read


class _Sending:
    def __init__(self, load, daemon):
        self.stop = threading.Event()
        self.load = load
        self.threads = [threading.Thread(target=producer.run, args=(daemon, self.stop)) for producer in load.producers]

    def __enter__(self):
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a producer hangs although the daemon is gone"
        problems = [producer.problem for producer in self.load.producers if producer.problem is not None]
        assert not problems, problems

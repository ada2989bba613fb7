"""kill -9 between any two steps of the control plane of Kinesis. What was answered is there afterwards, what was under way is there
whole or not at all, and nothing is left over. The seed is printed; HYDRANT_SEED repeats the moments."""

import itertools
import random
import threading

from botocore.exceptions import BotoCoreError, ClientError

import hydrant
from load import rounds
from test_kinesis import kinesis, refused

ROUNDS = rounds(usual=20, long=400)
# What a stream goes through, and what is to be seen of it after each step.
STEPS = ("create", "put", "register", "policy", "split", "deregister", "delete")


def step(client, name, what):
    arn = f"arn:aws:kinesis:{hydrant.REGION}:{hydrant.ACCOUNT}:stream/{name}"
    if what == "create":
        client.create_stream(StreamName=name, ShardCount=1)
    elif what == "put":
        client.put_record(StreamName=name, Data=b"x", PartitionKey="k")
    elif what == "register":
        client.register_stream_consumer(StreamARN=arn, ConsumerName="c")
    elif what == "policy":
        client.put_resource_policy(ResourceARN=arn, Policy='{"Statement":{"Effect":"Allow","Principal":"*","Action":"*"}}')
    elif what == "split":
        client.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
    elif what == "deregister":
        client.deregister_stream_consumer(StreamARN=arn, ConsumerName="c")
    else:
        client.delete_stream(StreamName=name)


def seen(client, name):
    """How many steps the stream has behind it."""
    arn = f"arn:aws:kinesis:{hydrant.REGION}:{hydrant.ACCOUNT}:stream/{name}"
    shards = client.list_shards(StreamName=name)["Shards"]
    iterator = client.get_shard_iterator(StreamName=name, ShardId=shards[0]["ShardId"], ShardIteratorType="TRIM_HORIZON")
    records = client.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    consumers = client.list_stream_consumers(StreamARN=arn)["Consumers"]
    try:
        client.get_resource_policy(ResourceARN=arn)
        policy = True
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ResourceNotFoundException"
        policy = False
    shown = (len(shards) > 1, len(records), len(consumers), policy)
    by_steps = {
        (False, 0, 0, False): 1, (False, 1, 0, False): 2, (False, 1, 1, False): 3, (False, 1, 1, True): 4,
        (True, 1, 1, True): 5, (True, 1, 0, True): 6,
    }
    assert shown in by_steps, f"{name}: {shown} is no state between two steps"
    return by_steps[shown]


class Worker(threading.Thread):
    """Takes streams through all their steps until the daemon is gone."""

    def __init__(self, daemon, names, done):
        super().__init__()
        self.client, self.names, self.done = kinesis(daemon), names, done
        self.under_way = self.problem = None

    def run(self):
        name = next(self.names)
        try:
            while True:
                for what in STEPS[self.done.get(name, 0):]:
                    self.under_way = name
                    step(self.client, name, what)
                    self.done[name] = self.done.get(name, 0) + 1
                    self.under_way = None
                name = next(self.names)
        except BotoCoreError:
            # The kill, and nothing else may end it.
            pass
        except Exception as error:
            self.problem = error


def test_no_kill_leaves_half_a_stream(daemon_of):
    rng, daemon = random.Random(hydrant.seed()), daemon_of([])
    names = map("s{}".format, itertools.count())
    done, reached = {}, set()
    for _ in range(ROUNDS):
        daemon.start()
        workers = [Worker(daemon, names, done) for _ in range(3)]
        for worker in workers:
            worker.start()
        threading.Event().wait(rng.uniform(0.02, 0.5))
        daemon.kill_alive()
        for worker in workers:
            worker.join()
            assert worker.problem is None, worker.problem
        daemon.start()
        client = kinesis(daemon)
        there = set(client.list_streams()["StreamNames"])
        assert there <= set(done) | {worker.under_way for worker in workers}
        under_way = {worker.under_way for worker in workers if worker.under_way}
        for name in sorted(there | set(done) | under_way):
            steps = seen(client, name) if name in there else (0 if done.get(name, 0) == 0 else len(STEPS))
            acked = done.get(name, 0)
            assert steps in ({acked, acked + 1} if name in under_way else {acked}), f"{name}: {steps} after {acked} acked"
            if name in under_way:
                reached.add((STEPS[acked], steps > acked))
            done[name] = steps
            if name in there:
                client.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
                hydrant.wait_until("it is deleted", lambda: name not in client.list_streams()["StreamNames"])
                refused("ResourceNotFoundException", client.describe_stream, StreamName=name)
                done[name] = len(STEPS)
        assert list((daemon.data_dir / "streams").iterdir()) == []
        daemon.stop()
    print(f"{len(done)} streams; killed during: {sorted(reached)}")

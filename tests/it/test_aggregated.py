"""What the Kinesis Producer Library puts together, made and read by AWS's own code: as it was put through the API of Kinesis,
and taken apart by delivery streams, each user record once whatever is killed meanwhile."""

import base64
import collections
import json
import random
from pathlib import Path

from aws_kinesis_agg import aggregator, deaggregator

import clients
import hydrant
import lake
from test_kinesis import kinesis, make, shards_of

TOP_KEY = 2**128 - 1


def aggregated(records):
    """`(partition key, explicit hash key, data)`, as entries of PutRecords."""
    made, entries = aggregator.RecordAggregator(max_size=20_000), []

    def take(full):
        if full:
            partition_key, hash_key, data = full.get_contents()
            steered = {"ExplicitHashKey": hash_key} if hash_key is not None else {}
            entries.append({"PartitionKey": partition_key, "Data": data, **steered})

    for partition_key, hash_key, data in records:
        take(made.add_user_record(partition_key, data, hash_key))
    take(made.clear_and_get())
    return entries


def put(client, stream, entries):
    for at in range(0, len(entries), 100):
        answer = client.put_records(StreamName=stream, Records=entries[at:at + 100])
        assert answer["FailedRecordCount"] == 0


def user_records(records):
    """By the reference implementation, which wants them as Lambda gets them."""
    events = [
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "sequenceNumber": record["SequenceNumber"],
                "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
                "partitionKey": record["PartitionKey"],
                "data": base64.b64encode(record["Data"]),
            }
        }
        for record in records
    ]
    return [user["kinesis"] for user in deaggregator.deaggregate_records(events)]


def all_of(client, stream, shard):
    kind = {"ShardIteratorType": "TRIM_HORIZON"}
    iterator = client.get_shard_iterator(StreamName=stream, ShardId=shard, **kind)["ShardIterator"]
    return client.get_records(ShardIterator=iterator)["Records"]


def reader(directory, **more):
    return {
        "name": directory.name,
        "from_stream": {"name": "clicks", **more},
        "buffering": {"size": "1 MiB", "interval": "1 s"},
        "destination": {"file": {"directory": str(directory)}},
    }


def with_clicks(daemon):
    daemon.config["streams"] = [{"name": "clicks", "shards": 2}]
    daemon.write_config()
    return daemon.start()


def data_of(n):
    return json.dumps({"n": n, "fill": "x" * (n % 300)}).encode()


def test_the_api_gives_aggregated_records_as_they_were_put(daemon_of):
    client = kinesis(daemon_of([]).start())
    make(client, "clicks", shards=2)
    shards = shards_of(client, "clicks")
    for shard in shards.values():
        start = shard["HashKeyRange"]["StartingHashKey"]
        given = [(f"user-{n}", start, data_of(n)) for n in range(500)]
        entries = aggregated(given)
        assert 1 < len(entries) < 50
        put(client, "clicks", entries)
        records = all_of(client, "clicks", shard["ShardId"])
        assert [record["Data"] for record in records] == [entry["Data"] for entry in entries]
        users = user_records(records)
        assert [(user["partitionKey"], user["explicitHashKey"], base64.b64decode(user["data"])) for user in users] == given
        subs = collections.Counter(user["sequenceNumber"] for user in users)
        assert list(subs) == [record["SequenceNumber"] for record in records]
        # A checkpoint within a record: the client library begins with that record again, and passes over what it had.
        middle = records[1]["SequenceNumber"]
        again = client.get_shard_iterator(
            StreamName="clicks", ShardId=shard["ShardId"], ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber=middle
        )["ShardIterator"]
        rest = user_records(client.get_records(ShardIterator=again)["Records"])
        assert [user["subSequenceNumber"] for user in rest if user["sequenceNumber"] == middle] == list(range(subs[middle]))
        assert [user["data"] for user in rest] == [user["data"] for user in users[-len(rest):]]


def test_plugins_are_told_where_a_record_came_from(daemon_of, tmp_path):
    """By a guest, as Firehose tells it to Lambda: shard, sequence number, partition key, sub-sequence number and time."""
    plugin = {"path": str(hydrant.TOP / "plugins" / "tests" / "guests" / "misbehave.wasm")}
    daemon = with_clicks(daemon_of([{**reader(tmp_path / "told"), "processing": {"plugins": [plugin]}}]))
    client = kinesis(daemon)
    asked = ["source", "subsequence", "id"]
    entries = aggregated([(f"user-{n}", "7", verb.encode()) for n, verb in enumerate(asked * 2)])
    put(client, "clicks", [*entries, *({"Data": verb.encode(), "PartitionKey": "alone"} for verb in asked)])
    counters = daemon.wait_drained("told")
    assert (counters["stored"], counters["split_off"], counters["delivered"]) == (4, 5, 9), counters
    told = collections.Counter(line.decode() for found in lake.in_directory(tmp_path / "told") for line in found.lines())
    wanted = collections.Counter()
    for shard in shards_of(client, "clicks"):
        for record in all_of(client, "clicks", shard):
            users = user_records([record])
            for user in users:
                sub, number = user.get("subSequenceNumber", 0), record["SequenceNumber"]
                arrived = round(record["ApproximateArrivalTimestamp"].timestamp() * 1000)
                verb = base64.b64decode(user["data"]).decode()
                said = {"source": f'{shard} {number} Some("{user["partitionKey"]}")', "subsequence": f"Some({sub})"}
                wanted[said.get(verb) or f".{sub} {arrived}"] += 1
    # The first word of the id is the place in the log, which no client knows.
    assert collections.Counter("." + line.split(".")[1] if "." in line else line for line in told.elements()) == wanted


class Worker:
    """What the Kinesis Client Library does with a stream, its leases in memory: of each shard the place behind which it goes on,
    as the numbers of a record and of a user record in it. Begins anew at every step, as after a crash."""

    def __init__(self, client, dice):
        self.client, self.dice, self.leases, self.shards, self.seen = client, dice, {}, {}, []

    def discover(self, **filters):
        for shard in self.client.list_shards(StreamName="clicks", **filters)["Shards"]:
            self.shards[shard["ShardId"]] = shard
            self.leases.setdefault(shard["ShardId"], "TRIM_HORIZON")

    def parents_are_done(self, shard):
        parents = [self.shards[shard].get(name) for name in ("ParentShardId", "AdjacentParentShardId")]
        return all(self.leases.get(parent, "SHARD_END") == "SHARD_END" for parent in parents)

    def read(self, shard):
        place = self.leases[shard]
        given = {"ShardIteratorType": "TRIM_HORIZON"}
        if place != "TRIM_HORIZON":
            given = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": place[0]}
        iterator = self.client.get_shard_iterator(StreamName="clicks", ShardId=shard, **given)["ShardIterator"]
        # The record at the place itself may have nothing new in it.
        return self.client.get_records(ShardIterator=iterator, Limit=self.dice.randint(2, 6))

    def step(self, shard):
        """False if there was nothing to do."""
        if self.leases[shard] == "SHARD_END" or not self.parents_are_done(shard):
            return False
        answer, place = self.read(shard), self.leases[shard]
        users = user_records(answer["Records"])
        if place != "TRIM_HORIZON":
            users = [user for user in users if (user["sequenceNumber"], user["subSequenceNumber"]) > place]
        wanted = self.dice.randint(1, len(users)) if users else 0
        keys = self.shards[shard]["HashKeyRange"]
        for user in users[:wanted]:
            # The library leaves out what does not belong to the shard.
            assert int(keys["StartingHashKey"]) <= int(user["explicitHashKey"]) <= int(keys["EndingHashKey"])
            self.seen.append(base64.b64decode(user["data"]))
            self.leases[shard] = (user["sequenceNumber"], user["subSequenceNumber"])
        if wanted == len(users) and "NextShardIterator" not in answer:
            self.leases[shard] = "SHARD_END"
            for child in answer["ChildShards"]:
                self.leases.setdefault(child["ShardId"], "TRIM_HORIZON")
            self.discover(ShardFilter={"Type": "FROM_TRIM_HORIZON"})
            return True
        return bool(users)


def put_to_open_shards(client, numbers):
    """Of the numbers as many to each, in records that belong to the whole of it."""
    shards = list(shards_of(client, "clicks", ShardFilter={"Type": "AT_LATEST"}).values())
    for at, shard in enumerate(shards):
        key = shard["HashKeyRange"]["StartingHashKey"]
        put(client, "clicks", aggregated([("user", key, data_of(n)) for n in numbers[at::len(shards)]]))
    return [shard["ShardId"] for shard in shards]


def test_a_consumer_that_is_the_client_librarys_sees_each_user_record_once(daemon_of):
    daemon = daemon_of([]).start()
    client, dice = kinesis(daemon), random.Random(hydrant.seed())
    make(client, "clicks", shards=1)
    worker = Worker(client, dice)
    worker.discover(ShardFilter={"Type": "AT_TRIM_HORIZON"})

    def work():
        return any([worker.step(shard) for shard in list(worker.leases)])

    (first,) = put_to_open_shards(client, range(500))
    work()
    client.split_shard(StreamName="clicks", ShardToSplit=first, NewStartingHashKey=str(2**127))
    children = put_to_open_shards(client, range(500, 1000))
    work()
    daemon.kill_alive()
    daemon.start()
    work()
    client.merge_shards(StreamName="clicks", ShardToMerge=children[0], AdjacentShardToMerge=children[1])
    put_to_open_shards(client, range(1000, 1500))
    while work():
        pass
    lake.same_multiset(worker.seen, [data_of(n) for n in range(1500)])
    assert [worker.leases[shard] for shard in (first, *children)] == ["SHARD_END"] * 3 and len(worker.leases) == 4


def test_each_user_record_is_delivered_once_through_kill_9(daemon_of, tmp_path):
    apart, whole, by_team = tmp_path / "apart", tmp_path / "whole", tmp_path / "by-team"
    partitioned = {
        **reader(by_team, start="trim_horizon"),
        "processing": {"deaggregate": {"json": {}}},
        "partitioning": {"jq": {"team": ".n % 3"}},
        "destination": {
            "file": {
                "directory": str(by_team),
                "prefix": "ok/team=!{partitionKeyFromQuery:team}/",
                "error_output_prefix": "errors/",
            }
        },
    }
    readers = [reader(apart, start="trim_horizon"), reader(whole, start="trim_horizon", deaggregate=False), partitioned]
    daemon = with_clicks(daemon_of(readers))
    client = kinesis(daemon)
    sent, stored, two_in_one = [], 0, 0
    for round_ in range(4):
        numbers = range(round_ * 1000, (round_ + 1) * 1000)
        entries = aggregated([(f"user-{n % 40}", None, data_of(n)) for n in numbers])
        # Not from the library: one of them has two JSON objects in it.
        plain = [data_of(n) for n in (-1 - round_, -101 - round_)] + [data_of(-201 - round_) * 2]
        entries += [{"PartitionKey": "plain", "Data": data} for data in plain]
        put(client, "clicks", entries)
        sent += [data_of(n) for n in numbers] + plain
        stored, two_in_one = stored + len(entries), two_in_one + 1
        daemon.kill_alive()
        daemon.start()
    for directory, records in ((apart, len(sent)), (by_team, len(sent) + two_in_one), (whole, stored)):
        counters = daemon.wait_drained(directory.name)
        expected = {"stored": stored, "delivered": records}
        if records > stored:
            expected["split_off"] = records - stored
        assert counters == {**dict.fromkeys(hydrant.PLACES, 0), **expected}
    lines = [line for found in lake.in_directory(apart) for line in found.lines()]
    assert collections.Counter(lines) == collections.Counter(sent)
    rows = [row["n"] for found in lake.in_directory(by_team) for row in found.rows()]
    wanted = [*range(4000), *(-n for n in (1, 2, 3, 4, 101, 102, 103, 104)), *(-n for n in (201, 202, 203, 204) for _ in "12")]
    lake.same_multiset(rows, wanted)
    assert b"".join(found.body for found in lake.in_directory(whole)).count(b"\xf3\x89\x9a\xc2") == stored - 4 * 3


def test_error_records_and_buckets_have_user_records(daemon_of, minio, bucket):
    stream = {
        **reader(Path("archive")),
        "format": {"parquet": {"columns": {"n": "int"}}},
        "destination": {"s3": {"bucket": bucket, "prefix": "ok/", "error_output_prefix": "errors/"}},
    }
    stream["from_stream"]["start"] = "trim_horizon"
    daemon = with_clicks(daemon_of([stream], s3=minio.connection(), environment=minio.environment()))
    client = kinesis(daemon)
    data = [b'{"n":%d}' % n if n % 5 else b"no json %d" % n for n in range(100)]
    put(client, "clicks", aggregated([("k", str(TOP_KEY), one) for one in data]))
    counters = daemon.wait_drained("archive")
    assert (counters["stored"], counters["split_off"], counters["delivered"], counters["failed"]) == (1, 99, 80, 20)
    _, text = daemon.admin("/metrics")
    assert 'hydrant_split_off_records{delivery_stream="archive"} 99' in (text if isinstance(text, str) else text.decode())
    objects, errors = lake.split_errors(lake.in_bucket(minio.client, bucket))
    lake.same_multiset([row["n"] for found in objects for row in found.rows()], [n for n in range(100) if n % 5])
    failed = [row for found in errors for row in found.rows()]
    found = sorted((row["subSequenceNumber"], base64.b64decode(row["rawData"])) for row in failed)
    assert found == [(n, data[n]) for n in range(0, 100, 5)]


def test_a_processor_of_the_api_takes_records_of_several_apart(daemon_of, minio, bucket):
    daemon = daemon_of([], s3=minio.connection(), environment=minio.environment()).start()
    firehose, role = clients.firehose(daemon), f"arn:aws:iam::{hydrant.ACCOUNT}:role/firehose"

    def processor(kind, **parameters):
        given = [{"ParameterName": name, "ParameterValue": value} for name, value in parameters.items()]
        return {"Type": kind, "Parameters": given}

    for name, parameters in (("json", {}), ("delimited", {"Delimiter": base64.b64encode(b"####").decode()})):
        deaggregation = processor("RecordDeAggregation", SubRecordType=name.upper(), **parameters)
        query = processor("MetadataExtraction", MetadataExtractionQuery="{team:.n%2}", JsonParsingEngine="JQ-1.6")
        wanted = {
            "RoleARN": role,
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "Prefix": f"{name}/team=!{{partitionKeyFromQuery:team}}/",
            "ErrorOutputPrefix": f"errors/{name}/",
            "DynamicPartitioningConfiguration": {"Enabled": True},
            "ProcessingConfiguration": {
                "Enabled": True, "Processors": [deaggregation, query, processor("AppendDelimiterToRecord")]
            },
        }
        firehose.create_delivery_stream(DeliveryStreamName=name, ExtendedS3DestinationConfiguration=wanted)
        shown = firehose.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
        shown = shown["Destinations"][0]["ExtendedS3DestinationDescription"]["ProcessingConfiguration"]
        assert deaggregation in shown["Processors"]
    one = [b'{"n":%d}' % n for n in range(501)]
    firehose.put_record(DeliveryStreamName="json", Record={"Data": b" ".join(one[:500])})
    # Too many: it goes on whole, and no filter takes it.
    firehose.put_record(DeliveryStreamName="json", Record={"Data": b"".join(one)})
    firehose.put_record(DeliveryStreamName="delimited", Record={"Data": b"####".join(one[:500])})
    # A stop delivers what the interval of a minute would.
    daemon.stop()
    objects = lake.in_bucket(minio.client, bucket)
    for name in ("json", "delimited"):
        for team in range(2):
            found = [row["n"] for one in objects if one.key.startswith(f"{name}/team={team}/") for row in one.rows()]
            lake.same_multiset(found, range(team, 500, 2))
    failed = lake.failed_records(found for found in objects if found.key.startswith("errors/"))
    assert [data for data, _ in failed] == [b"".join(one)]

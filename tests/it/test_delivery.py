"""Real log lines through the plugin, into Parquet and NDJSON, in a directory and in MinIO; read back by pyarrow and by DuckDB,
and compared record by record with a second computation."""

import datetime
import json
import urllib.parse

import duckdb
import pytest

import clients
import lake
import weblog

PARTITIONS = "status_class=!{partitionKeyFromLambda:status_class}/day=!{partitionKeyFromLambda:day}/"
ERRORS = "errors/!{firehose:error-output-type}/!{timestamp:yyyy}/"


def repeated_lines():
    """The example data and the broken lines, with enough repeats that several chunks are cut."""
    return weblog.lines() * 3 + list(weblog.BROKEN)


def parquet_stream(name, destination):
    return {
        "name": name,
        "buffering": {"size": "2 MiB", "interval": "2 s"},
        "processing": {"plugins": [{"path": str(weblog.PLUGIN), "config": {"mask": "ip"}}]},
        "partitioning": {"partitions_max": 500},
        "format": {"parquet": {"columns": weblog.COLUMNS, "compression": "zstd"}},
        "destination": destination,
    }


def check_counters(counters, sent, rows, dropped, failed):
    assert counters == {
        "stored": sent, "delivered": rows, "dropped": dropped, "failed": failed,
        "lost": 0, "expired": 0, "discarded": 0, "backlog": 0,
    }  # fmt: skip


def check_parquet(objects, sent):
    """Every record in exactly one object, in its partition; the failed ones, whole, in the error output."""
    rows, dropped, failed = weblog.sorted_out(sent)
    data, errors = lake.split_errors(objects)
    got = []
    for found in data:
        assert found.key.endswith(".parquet"), found.key
        where = {name: urllib.parse.unquote(value) for name, value in found.partition.items()}
        for row in found.rows():
            assert weblog.partition(dict(row, ts=weblog.comparable(row)[0])) == where, f"{row} in {found.key}"
            got.append(weblog.comparable(row))
    lake.same_multiset(got, [weblog.comparable(row) for row in rows])
    records = lake.failed_records(errors)
    lake.same_multiset([data for data, _ in records], failed)
    assert {fields["errorCode"] for _, fields in records} == {"Lambda.ProcessingFailedStatus"}
    assert all(found.key.startswith("errors/processing-failed/") for found in errors)
    return len(rows), len(dropped), len(failed)


def check_duckdb(relation, sent):
    """The same totals by SQL, with the partitions as columns."""
    rows, _, _ = weblog.sorted_out(sent)
    wanted = {}
    for row in rows:
        keys = weblog.partition(row)
        count, size = wanted.get((keys["status_class"], keys["day"]), (0, 0))
        wanted[keys["status_class"], keys["day"]] = (count + 1, size + (row["bytes"] or 0))
    sql = f"select status_class, day::varchar, count(*), coalesce(sum(bytes), 0)::bigint from {relation} group by all"
    got = {(kind, day): (count, size) for kind, day, count, size in duckdb.sql(sql).fetchall()}
    assert got == wanted
    newest, clients_seen = duckdb.sql(f"select max(ts at time zone 'UTC'), count(distinct client) from {relation}").fetchall()[0]
    assert newest.replace(tzinfo=datetime.timezone.utc) == max(row["ts"] for row in rows)
    assert clients_seen == len({row["client"] for row in rows} - {None})


def test_log_lines_become_parquet_in_a_directory(daemon_of, tmp_path):
    directory = tmp_path / "lake"
    sent = repeated_lines()
    destination = {"file": {"directory": str(directory), "prefix": PARTITIONS, "error_output_prefix": ERRORS}}
    daemon = daemon_of([parquet_stream("access", destination)]).start()
    clients.put_all(clients.firehose(daemon), "access", sent)
    counters = daemon.wait_drained("access")
    totals = check_parquet(lake.in_directory(directory), sent)
    check_counters(counters, len(sent), *totals)
    check_duckdb(f"read_parquet('{directory}/status_class=*/*/*.parquet', hive_partitioning = true)", sent)
    daemon.stop()
    # Nothing more comes after a restart, and the counters are still true.
    daemon.start()
    check_counters(daemon.accounting("access"), len(sent), *totals)
    check_parquet(lake.in_directory(directory), sent)


def test_log_lines_become_parquet_in_minio(daemon_of, tmp_path, minio, bucket):
    sent = repeated_lines()
    destination = {"s3": {"bucket": bucket, "prefix": PARTITIONS, "error_output_prefix": ERRORS}}
    daemon = daemon_of(
        [parquet_stream("access", destination)], s3=minio.connection(), environment=minio.environment()
    ).start()
    clients.put_all(clients.firehose(daemon), "access", sent)
    counters = daemon.wait_drained("access")
    objects = lake.in_bucket(minio.client, bucket)
    check_counters(counters, len(sent), *check_parquet(objects, sent))
    copy = tmp_path / "copy"
    for found in objects:
        path = copy / found.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found.body)
    check_duckdb(f"read_parquet('{copy}/status_class=*/*/*.parquet', hive_partitioning = true)", sent)


CUSTOMERS = ["plain", "a/b", "..", "ü ñ", "100%", "x=y", "q?*"]


def events():
    return [{"customer": CUSTOMERS[number % len(CUSTOMERS)], "n": number, "s": "täxt"} for number in range(5000)]


NOT_JSON = [b"not json", b"[1]", b'{"n": 1}', b'{"customer": null}']


@pytest.mark.parametrize("where", ["directory", "minio"])
def test_events_become_gzip_lines_partitioned_by_jq(daemon_of, tmp_path, minio, bucket, where):
    naming = {"prefix": "customer=!{partitionKeyFromQuery:customer}/", "error_output_prefix": ERRORS}
    directory = tmp_path / "lake"
    destination = (
        {"file": {"directory": str(directory), **naming}} if where == "directory" else {"s3": {"bucket": bucket, **naming}}
    )
    stream = {
        "name": "events",
        "buffering": {"size": "1 MiB", "interval": "2 s"},
        "partitioning": {"jq": {"customer": ".customer"}},
        "format": {"lines": {"compression": "gzip"}},
        "destination": destination,
    }
    daemon = daemon_of([stream], s3=minio.connection(), environment=minio.environment()).start()
    sent = [json.dumps(event, ensure_ascii=False).encode() for event in events()]
    clients.put_all(clients.firehose(daemon), "events", sent + NOT_JSON)
    counters = daemon.wait_drained("events")
    check_counters(counters, len(sent) + len(NOT_JSON), len(sent), 0, len(NOT_JSON))
    objects = lake.in_directory(directory) if where == "directory" else lake.in_bucket(minio.client, bucket)
    data, errors = lake.split_errors(objects)
    # Byte for byte, each in the partition of its own customer.
    lake.same_multiset([line for found in data for line in found.lines()], sent)
    for found in data:
        assert found.key.startswith("customer=") and found.key.count("/") == 1, f"{found.key} left its prefix"
        assert {row["customer"] for row in found.rows()} == {urllib.parse.unquote(found.partition["customer"])}
    records = lake.failed_records(errors)
    lake.same_multiset([data for data, _ in records], NOT_JSON)
    assert {fields["errorCode"] for _, fields in records} == {"DynamicPartitioning.MetadataExtractionFailed"}
    if where == "directory":
        sql = f"select customer, count(*) from read_json('{directory}/customer=*/*.gz', hive_partitioning = true) group by 1"
        assert dict(duckdb.sql(sql).fetchall()).keys() == set(CUSTOMERS)


def test_two_streams_keep_their_records_apart(daemon_of, tmp_path):
    """Two delivery streams of one daemon, fed at once, keep their records apart."""
    streams = [
        {"name": name, "buffering": {"interval": "1 s"}, "destination": {"file": {"directory": str(tmp_path / name)}}}
        for name in ("left", "right")
    ]
    daemon = daemon_of(streams).start()
    client = clients.firehose(daemon)
    for number in range(20):
        for name in ("left", "right"):
            clients.put_all(client, name, [f"{name} {number} {index}".encode() for index in range(100)])
    for name in ("left", "right"):
        assert daemon.wait_drained(name)["delivered"] == 2000
        lines = [line.decode() for found in lake.in_directory(tmp_path / name) for line in found.lines()]
        lake.same_multiset(lines, [f"{name} {number} {index}" for number in range(20) for index in range(100)])

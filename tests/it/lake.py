"""What has arrived at a destination, read by foreign readers, and the oracle that judges it.

The oracle knows nothing of the daemon: it sees objects, what the producers sent, and what was acked.
"""

import base64
import gzip
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet


@dataclass(frozen=True)
class Object:
    """Key relative to the destination, with `/`."""

    key: str
    body: bytes

    @property
    def partition(self):
        """The Hive keys of the path, still escaped."""
        parts = [part.split("=", 1) for part in self.key.split("/")[:-1] if "=" in part]
        return {name: value for name, value in parts}

    def lines(self):
        body = gzip.decompress(self.body) if self.body[:2] == b"\x1f\x8b" else self.body
        assert body.endswith(b"\n"), f"{self.key} does not end with a newline"
        return body[:-1].split(b"\n")

    def rows(self):
        """Dicts, from Parquet or NDJSON."""
        if self.body[:4] == b"PAR1":
            return pyarrow.parquet.ParquetFile(io.BytesIO(self.body)).read().to_pylist()
        return [json.loads(line) for line in self.lines()]


def in_directory(directory):
    """Everything below; a name with a dot before it is not finished, and none may be left when the daemon is at rest."""
    found = []
    for path in sorted(Path(directory).rglob("*")):
        if path.is_file():
            key = path.relative_to(directory).as_posix()
            assert not path.name.startswith("."), f"unfinished file left behind: {key}"
            found.append(Object(key, path.read_bytes()))
    return found


def in_bucket(client, bucket):
    found = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            found.append(Object(entry["Key"], client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()))
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert not uploads, f"orphan multipart uploads: {uploads}"
    return found


def split_errors(objects, prefix="errors/"):
    """Data objects, and error objects below `prefix`."""
    errors = [found for found in objects if found.key.startswith(prefix)]
    return [found for found in objects if not found.key.startswith(prefix)], errors


def failed_records(errors):
    """The original bytes of every error record with its fields, after the shape was checked."""
    records = []
    for found in errors:
        for row in found.rows():
            assert isinstance(row["errorCode"], str) and isinstance(row["errorMessage"], str), row
            assert isinstance(row["attemptsMade"], int) and row["attemptsMade"] >= 1, row
            for field in ("arrivalTimestamp", "attemptEndingTimestamp"):
                assert isinstance(row[field], int) and row[field] > 1_600_000_000_000, f"{field} in ms: {row}"
            assert row["attemptEndingTimestamp"] >= row["arrivalTimestamp"], row
            records.append((base64.b64decode(row["rawData"], validate=True), row))
    return records


def same_multiset(got, wanted):
    """Compares without order; the message shows a few of each side."""
    got, wanted = Counter(got), Counter(wanted)
    missing, extra = wanted - got, got - wanted
    assert not missing and not extra, (
        f"{missing.total()} missing, such as {list(missing)[:3]}; {extra.total()} too many, such as {list(extra)[:3]}"
    )


def judge(objects, sent, acked, identity, order):
    """Problems with what was delivered, none if all is well.

    `identity(row)` is what the producer numbered; `order(row)` is (producer, number), ascending within an object.
    """
    problems = []
    seen = {}
    for found in objects:
        last = {}
        for row in found.rows():
            name = identity(row)
            if name in seen:
                problems.append(f"twice: {name} in {seen[name]} and {found.key}")
            seen[name] = found.key
            if name not in sent:
                problems.append(f"invented: {name} in {found.key}")
            producer, number = order(row)
            if number <= last.get(producer, -1):
                problems.append(f"out of order: {name} after number {last[producer]} in {found.key}")
            last[producer] = number
    lost = [name for name in acked if name not in seen]
    problems.extend(f"lost: {name} was acked" for name in lost)
    return problems

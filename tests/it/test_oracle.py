"""The oracle finds what it is there to find: faked lakes, each wrong in one way."""

import gzip
import io
import json

import pyarrow
import pyarrow.parquet
import pytest

import lake
import load


def numbered(producer, number):
    return {"id": f"{producer}-{number}", "producer": producer, "number": number}


def ndjson(key, rows, compressed=False):
    body = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return lake.Object(key, gzip.compress(body) if compressed else body)


def parquet(key, rows):
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    return lake.Object(key, out.getvalue())


def judged(objects, sent, acked):
    names = lambda rows: {row["id"] for row in rows}
    order = lambda row: (row["producer"], row["number"])
    return lake.judge(objects, names(sent), names(acked), lambda row: row["id"], order)


ROWS = [numbered(producer, number) for producer in ("a", "b") for number in range(5)]


@pytest.mark.parametrize("make", [ndjson, parquet, lambda key, rows: ndjson(key, rows, True)])
def test_a_good_lake(make):
    assert judged([make("one", ROWS[:4]), make("two", ROWS[4:])], ROWS, ROWS) == []


def test_unacked_records_may_be_there_or_not():
    assert judged([ndjson("one", ROWS[:8])], ROWS, ROWS[:6]) == []


def test_lost():
    assert judged([ndjson("one", ROWS[1:])], ROWS, ROWS) == ["lost: a-0 was acked"]


def test_twice():
    assert judged([ndjson("one", ROWS), parquet("two", ROWS[:1])], ROWS, ROWS) == ["twice: a-0 in one and two"]


def test_invented():
    assert judged([ndjson("one", ROWS + [numbered("c", 0)])], ROWS, ROWS) == ["invented: c-0 in one"]


def test_out_of_order():
    rows = [ROWS[1], ROWS[0], *ROWS[2:]]
    assert judged([ndjson("one", rows)], ROWS, ROWS) == ["out of order: a-0 after number 1 in one"]


def test_reordered_between_objects():
    order = lambda row: (row["producer"], row["number"])
    objects = lambda *parts: [ndjson(key, [numbered("p", number) for number in numbers]) for key, numbers in parts]
    assert load.overlaps(objects(("a", [0, 1]), ("b", [2, 3])), order) == []
    # Partitions are independent.
    assert load.overlaps(objects(("k=1/a", [0, 2]), ("k=2/b", [1, 3])), order) == []
    (problem,) = load.overlaps(objects(("a", [0, 2]), ("b", [1, 3])), order)
    assert problem == "reordered: of p, b begins with 1, and a ends with 2"


def test_a_directory(tmp_path):
    (tmp_path / "day=2015-05-17").mkdir()
    (tmp_path / "day=2015-05-17" / "part").write_bytes(b"{}\n")
    [found] = lake.in_directory(tmp_path)
    assert (found.key, found.partition, found.rows()) == ("day=2015-05-17/part", {"day": "2015-05-17"}, [{}])
    (tmp_path / ".part.tmp").write_bytes(b"")
    with pytest.raises(AssertionError, match="unfinished"):
        lake.in_directory(tmp_path)


ERROR = {
    "rawData": "eA==",
    "errorCode": "Lambda.ProcessingFailedStatus",
    "errorMessage": "no",
    "attemptsMade": 1,
    "arrivalTimestamp": 1789014240448,
    "attemptEndingTimestamp": 1789014301529,
}
WRONG = {
    "rawData": "?",
    "errorCode": 1,
    "errorMessage": None,
    "attemptsMade": "1",
    "arrivalTimestamp": 1789014240,
    "attemptEndingTimestamp": 1789014240447,
}


def test_error_records_are_decoded():
    [(data, fields)] = lake.failed_records([ndjson("errors/x", [ERROR])])
    assert data == b"x" and fields == ERROR


@pytest.mark.parametrize("field", WRONG)
def test_error_records_must_have_the_fields_of_aws(field):
    with pytest.raises((AssertionError, ValueError)):
        lake.failed_records([ndjson("errors/x", [{**ERROR, field: WRONG[field]}])])


def test_multisets():
    lake.same_multiset(["a", "b", "a"], ["a", "a", "b"])
    with pytest.raises(AssertionError, match="1 missing.*1 too many"):
        lake.same_multiset(["a", "b"], ["a", "a"])

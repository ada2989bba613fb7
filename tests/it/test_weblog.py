"""The second computation is itself right, by hand-made answers and by the totals of the example data."""

import datetime

import weblog


def test_one_line_by_hand():
    line = b'83.149.9.216 - - [17/May/2015:12:05:03 +0200] "GET /a?b=\\"c\\" HTTP/1.1" 404 - "-" "Mozilla/5.0 (\\"x\\")"'
    assert weblog.expected(line) == {
        "ts": datetime.datetime(2015, 5, 17, 10, 5, 3, tzinfo=datetime.timezone.utc),
        "client": "83.149.9.0",
        "method": "GET",
        "path": '/a?b=\\"c\\"',
        "protocol": "HTTP/1.1",
        "status": 404,
        "bytes": None,
        "referer": None,
        "user_agent": 'Mozilla/5.0 (\\"x\\")',
    }


def test_masks():
    assert weblog.masked("2001:db8:1:2:3:4:5:6") == "2001:db8:1::"
    assert weblog.masked("::ffff:83.149.9.216") == "83.149.9.0"
    assert weblog.masked("host.example.net") is None


def test_every_broken_line_fails():
    assert {weblog.expected(line) for line in weblog.BROKEN} == {"failed"}


def test_the_example_data_has_all_three_kinds():
    lines = weblog.lines()
    rows, dropped, failed = weblog.sorted_out(lines)
    print(f"{len(lines)} lines: {len(rows)} rows, {len(dropped)} dropped, {len(failed)} failed")
    assert len(rows) + len(dropped) + len(failed) == len(lines) > 1000
    assert len(rows) > len(lines) * 0.9 and dropped

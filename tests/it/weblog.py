"""What the access-log plugin must make of a line, computed a second time: by a regular expression, with another library's
clock and addresses. It shares nothing with the plugin."""

import datetime
import gzip
import ipaddress
import re

import hydrant

DATA = hydrant.TOP / "examples" / "data" / "access_log.gz"
PLUGIN = hydrant.TOP / "examples" / "plugins" / "access_log.wasm"
HEALTH_PATHS = {"/health", "/healthz", "/ping", "/robots.txt"}

# The columns a YAML declares for the plugin's output.
COLUMNS = {
    "ts": "timestamp",
    "client": "string",
    "method": "string",
    "path": "string",
    "protocol": "string",
    "status": "int",
    "bytes": "bigint",
    "referer": "string",
    "user_agent": "string",
}

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(
    r"([^ ]+) [^ ]+ [^ ]+ \[([^\]]*)\] "
    r'"([^ "]+) ((?:[^ "\\]|\\.)*) (HTTP/(?:[^ "\\]|\\.)*)" ([1-5]\d\d) (\d+|-) ' + _QUOTED + " " + _QUOTED
)

# Lines that no web server wrote, each broken in its own way.
BROKEN = (
    b"",
    b"not a log line",
    b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /" 200 5 "-" "-"',
    b'1.2.3.4 - - [17/Mai/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "-"',
    b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 999 5 "-" "-"',
    b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 five "-" "-"',
    b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "no end',
    b'\xff\xfe - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "-"',
)


def lines():
    """The lines of the example data, without their newlines."""
    return gzip.decompress(DATA.read_bytes()).splitlines()


def masked(client):
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return None
    if address.version == 6 and address.ipv4_mapped:
        address = address.ipv4_mapped
    kept = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, kept), strict=False).network_address)


def moment(text):
    return datetime.datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").astimezone(datetime.timezone.utc)


def expected(line):
    """A row as a dict, or "dropped", or "failed"."""
    try:
        found = _LINE.fullmatch(line.decode())
        if found is None:
            return "failed"
        client, when, method, path, protocol, status, size, referer, agent = found.groups()
        when = moment(when)
    except ValueError:
        return "failed"
    if path.split("?")[0] in HEALTH_PATHS:
        return "dropped"
    return {
        "ts": when,
        "client": masked(client),
        "method": method,
        "path": path,
        "protocol": protocol,
        "status": int(status),
        "bytes": None if size == "-" else int(size),
        "referer": None if referer == "-" else referer,
        "user_agent": None if agent == "-" else agent,
    }


def sorted_out(some_lines):
    """(rows, dropped lines, failed lines)"""
    rows, dropped, failed = [], [], []
    for line in some_lines:
        answer = expected(line)
        if answer == "dropped":
            dropped.append(line)
        elif answer == "failed":
            failed.append(line)
        else:
            rows.append(answer)
    return rows, dropped, failed


def partition(row):
    """The plugin's partition keys."""
    return {"status_class": f"{row['status'] // 100}xx", "day": row["ts"].strftime("%Y-%m-%d")}


def comparable(row):
    """Hashable; a time that was text (NDJSON) or came without a zone is brought to UTC."""
    when = row["ts"]
    if isinstance(when, str):
        when = datetime.datetime.fromisoformat(when.replace("Z", "+00:00"))
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.timezone.utc)
    return (when.astimezone(datetime.timezone.utc), *(row[name] for name in COLUMNS if name != "ts"))


def as_json(row):
    """What the plugin writes for the row."""
    return {**row, "ts": row["ts"].strftime("%Y-%m-%dT%H:%M:%SZ")}

"""Hostile partition values, into a real MinIO and into a directory: none leaves its prefix, each can be read back from the key by
decoding it, and what no path can name is an error record. HYDRANT_SEED repeats the random ones."""

import json
import random
import re
import urllib.parse

import hydrant
import lake
import proof

VALUES = 300
EMPTY = "__HIVE_DEFAULT_PARTITION__"
KEY_BYTES_MAX, COMPONENT_BYTES_MAX = 1024, 255

CHOSEN = [
    "", " ", "  ", ".", "..", "...", "/", "//", "a/b", "/a", "a/", "../a", "../../etc/passwd", "..\\..\\a", "a/../../b", "./a", "a/./b",
    "%2e%2e%2f", "%", "%%", "%2F", "%00", "%zz", "100%", "\0", "a\0b", "\0\0\0", "\n", "a\nb", "\r\n", "\t", "\x1b[31m", "\x7f", "\x80",
    "\u0085", "\u2028", "\u2029", "\ufeff", "\u200b", "\u200e", "\u200f", "\u202e", "\u202eabc", "\u2066x\u2069", "\ufffd", "\ufffe",
    "é", "e\u0301", "ß", "ẞ", "İ", "ı", "日本語", "한국어", "नमस्ते", "עברית", "العربية", "👩‍👩‍👧‍👦", "🏳️‍🌈", "😀" * 10, "\U0010ffff", "a\u0308" * 20,
    "CON", "con", "PRN", "AUX", "NUL", "nul.txt", "COM1", "LPT9", "a.", "a..", "a...", "a ", " a", ".a", ".hidden", "..a", "a..b", "-", "-rf",
    "--", "~", "~root", "$HOME", "${HOME}", "$(id)", "`id`", "!{timestamp:yyyy}", "!{partitionKeyFromQuery:v}", "a;b", "a&b", "a|b", "a<b>c",
    "a>b", "'", '"', "''", '\\"', "\\", "\\\\", "a\\b", "a:b", "C:", "C:\\a", "a=b", "v=1", "=", "==", "a?b", "?", "a#b", "#", "a*b", "*",
    "[a]", "{a}", "{", "}", "^", "a^b", "a,b", "@", "a@b", "+", "a+b", "a b", "a%20b", "a+%2B", "&amp;", "<script>", "null", "None", "NaN",
    "undefined", "true", "0", "-0", "1e400", "0x10", "1/0", EMPTY, "__HIVE_DEFAULT_PARTITION__ ", "hydrant", ".hydrant-probe", "errors",
    "errors/x", "../errors/x", "data", "STORE", "lost+found", ".git", ".DS_Store", "con.", "aux/", "s3://bucket/key", "file:///etc/passwd",
    "http://127.0.0.1/", "x-amz-meta-a: b\r\nc: d", "a\r\nX-Evil: 1", "?uploadId=1", "a?versionId=2", "#fragment", "%25", "%2525", "%c0%af",
    "é".encode().decode("latin-1"), "a" * 150, "a" * 217, "é" * 70, "😀" * 17, "/" * 70, "." * 200, " " * 200, "%" * 70, "\0" * 60,
    "a" * 240, "a" * 255, "a" * 256, "a" * 1000, "a" * 1024, "é" * 512, "😀" * 256, "/" * 1024, "." * 1024, "%" * 1024, "\0" * 400, "a" * 100_000,
]  # fmt: skip
ALPHABETS = ["/.%\\\0", "abc/", "\x01\x1f\x7f \n", "=:*?\"'#[]{}^", "éß日😀\u202e\u0301", "%0123456789abcdefABCDEF"]


def values():
    """The chosen ones, and others of characters that are hard on names."""
    rng, found = random.Random(hydrant.seed()), list(dict.fromkeys(CHOSEN))
    while len(found) < VALUES:
        value = "".join(rng.choices(rng.choice(ALPHABETS), k=rng.randint(1, 60)))
        if value not in found:
            found.append(value)
    return found


def record(number, value):
    return json.dumps({"id": str(number), "number": number, "v": value}).encode()


def stream(name, destination):
    naming = {"prefix": "data/v=!{partitionKeyFromQuery:v}/end/", "error_output_prefix": "errors/!{firehose:error-output-type}/"}
    [(kind, place)] = destination.items()
    return {
        "name": name,
        "buffering": {"size": "64 MiB", "interval": "2 s"},
        "partitioning": {"jq": {"v": ".v"}, "partitions_max": 1000},
        "destination": {kind: {**place, **naming}},
    }


def decoded(key):
    """The value as Hive and Spark decode it, after it was seen that the key is as it should be."""
    found = re.fullmatch(r"data/v=([^/]+)/end/[^/]+", key)
    assert found, f"a value has left its prefix: {key!r}"
    text = found[1]
    assert not re.search(r"[\x00-\x1f\x7f]", key) and "/../" not in key and "/./" not in key, key
    assert len(key.encode()) <= KEY_BYTES_MAX and max(len(part.encode()) for part in key.split("/")) <= COMPONENT_BYTES_MAX, key
    return "" if text == EMPTY else urllib.parse.unquote(text, errors="strict")


def why_refused(value):
    """An empty value is none, as at AWS; one that is too long for a name of a path is an error, too."""
    length = sum(3 if ord(one) < 32 or one in '\x7f"#%\'*/:=?\\{[]^' else len(one.encode()) for one in value)
    return "empty" if not value else "long" if len("v=") + length > COMPONENT_BYTES_MAX else None


def told_why(reason):
    return "empty" if "must not be null or empty" in reason else "long" if "the object key would have" in reason else reason


def test_no_value_leaves_its_prefix_and_each_is_read_back(daemon_of, minio, bucket, tmp_path):
    sent = values()
    directory = tmp_path / "lake"
    streams = [stream("to-minio", {"s3": {"bucket": bucket}}), stream("to-directory", {"file": {"directory": str(directory)}})]
    daemon = daemon_of(streams, s3=minio.connection(), environment=minio.environment()).start()
    beside = {path.name for path in tmp_path.iterdir()} | {"lake"}
    for name, read in {
        "to-minio": lambda: lake.in_bucket(minio.client, bucket),
        "to-directory": lambda: lake.in_directory(directory),
    }.items():
        told = proof.Told(daemon)
        told.put(name, len(sent), lambda number: record(number, sent[number]))
        daemon.wait_drained(name)
        objects = read()
        data, errors = lake.split_errors(objects)
        values_read = set()
        for found in data:
            for row in found.rows():
                assert decoded(found.key) == row["v"] or (row["v"] == EMPTY and decoded(found.key) == ""), found.key
                values_read.add(row["v"])
        reasons = {json.loads(original)["id"]: row["errorMessage"] for original, row in lake.failed_records(errors)}
        proof.judge(daemon, name, objects, told.names(name), set(reasons))
        assert {number: told_why(reason) for number, reason in reasons.items()} == {
            str(number): why for number, value in enumerate(sent) if (why := why_refused(value))
        }
        print(f"{name}: {len(values_read)} values in {len(data)} objects, {len(reasons)} refused")
    assert {path.name for path in tmp_path.iterdir()} == beside, "something was written beside the directory"

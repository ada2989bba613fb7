"""Numbered records, and the judgement over one delivery stream: what was acked, what can be read, and what is counted.

Nothing here knows how the daemon delivers. It reads with foreign readers, and `hydrant status --json` as an operator does.
"""

import base64
import json
import re

import clients
import hydrant
import lake


def record(number, size=1000, **more):
    body = {"id": str(number), "number": number, **more, "pad": ""}
    body["pad"] = "x" * max(0, size - len(json.dumps(body)))
    return json.dumps(body).encode()


def number_of(row):
    return row["id"]


class Told:
    """What producers have put into the delivery streams of one daemon, all of it acked."""

    def __init__(self, daemon):
        self.daemon, self.numbers = daemon, {}

    def put(self, stream, count, make=record):
        """The next so many records."""
        start = self.numbers.get(stream, 0)
        clients.put_all(clients.firehose(self.daemon), stream, [make(number) for number in range(start, start + count)])
        self.numbers[stream] = start + count

    def names(self, stream):
        return {str(number) for number in range(self.numbers[stream])}


def status(daemon, stream):
    """The entry of `hydrant status --json`, after its sum was checked."""
    code, out, said = hydrant.command("status", "--json", "-c", daemon.config_file, environment=daemon.environment)
    assert code == 0, said
    [entry] = [entry for entry in json.loads(out)["delivery_streams"] if entry["name"] == stream]
    places = {place: entry.get(place, 0) for place in hydrant.PLACES}
    assert entry["stored"] == sum(places.values()), entry
    assert not entry["accounting_mismatch"], entry
    return entry


def judge(daemon, stream, objects, names, failed=()):
    """Every one of `names` is in one object, but `failed`, each of which is in one error object; and the counters say so."""
    data, errors = lake.split_errors(objects)
    problems = lake.judge(data, names, names - set(failed), number_of, lambda row: ("one", row["number"]))
    assert not problems, f"{stream}: {len(problems)} problems: {problems[:10]}"
    gone = [json.loads(original)["id"] for original, _ in lake.failed_records(errors)]
    lake.same_multiset(gone, failed)
    delivered = sum(len(found.rows()) for found in data)
    entry = status(daemon, stream)
    counted = {name: entry[name] for name in ("stored", "delivered", "failed", "backlog", "dropped", "lost", "discarded")}
    assert counted == {
        "stored": len(names), "delivered": delivered, "failed": len(gone), "backlog": 0, "dropped": 0, "lost": 0, "discarded": 0,
    }, counted  # fmt: skip
    return entry


def staged_bytes(data_dir):
    """All that the outbox of a data directory holds. The few bytes of small chunks stand in the journal, as base64."""
    parts = []
    for path in data_dir.glob("delivery/*/*/*"):
        if path.parent.name in ("journal", "staged"):
            content = path.read_bytes()
            parts.append(content)
            parts += [base64.b64decode(run[: len(run) // 4 * 4]) for run in re.findall(rb"[A-Za-z0-9+/]{400,}=*", content)]
    return b"".join(parts)

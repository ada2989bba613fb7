"""Every fault that a network and a search engine can do, between the daemon and a real OpenSearch: one delivery stream, one index
and one proxy a fault, all at once in one daemon; then every document and every error record is read back and judged."""

import contextlib
import json
from dataclasses import dataclass
from typing import Callable

import pytest

import fault_proxy as by
import hydrant
import lake
import proof
from fault_proxy import Answer, FaultProxy

ROUNDS = (30, 300, 30)
OFTEN, ALWAYS = (0, 1, 3), range(1_000_000)
BUSY = {"status": 429, "error": {"type": "rejected_execution_exception", "reason": "by the proxy"}}
# Records that some of the faults are about.
MARKED = {"7", "31", "200"}


@dataclass(frozen=True)
class Cell:
    fault: Callable
    when: object = OFTEN
    retry: str = "300 s"
    said: str = ""
    failed: str = "none"  # which records are in the backup at last
    timeout: str = "60 s"  # a busy machine may need many seconds, and then it is another fault


def refusal(status, kind):
    body = json.dumps({"error": {"type": kind, "reason": "by the proxy"}, "status": status})
    return Answer(status, (("Retry-After", "1"),), body.encode())


def pairs(body):
    lines = body.split(b"\n")[:-1]
    return list(zip(lines[::2], lines[1::2]))


def marked(pair):
    return json.loads(pair[1])["id"] in MARKED


def busy_for_some(exchange):
    """The marked documents are not made, and the answer says so."""
    asked = pairs(exchange.body())
    left = [pair for pair in asked if not marked(pair)]
    made = iter([])
    if left:
        answer = exchange.ask(b"".join(line + b"\n" for pair in left for line in pair))
        made = iter(json.loads(answer.body)["items"])
    items = [{"create": BUSY} if marked(pair) else next(made) for pair in asked]
    exchange.reply(Answer(200, (), json.dumps({"items": items}).encode()))


def says_busy_of_some(exchange):
    """The marked documents are made, and the answer says that they are not."""
    answer = json.loads(exchange.ask().body)
    for pair, item in zip(pairs(exchange.body()), answer["items"]):
        if marked(pair):
            item["create"] = BUSY
    exchange.reply(Answer(200, (), json.dumps(answer).encode()))


def forgets_items(exchange):
    answer = json.loads(exchange.ask().body)
    exchange.reply(Answer(200, (), json.dumps({"items": answer["items"][1:]}).encode()))


def html(exchange):
    exchange.body()
    exchange.reply(Answer(200, (("Content-Type", "text/html"),), b"<html>it works"))


def huge(exchange):
    exchange.ask()
    exchange.reply(Answer(200, (), b'{"items":[' + b" " * (80 << 20)))


CELLS = {
    "lost-answer": Cell(by.lost),
    "lost-request": Cell(by.lost_before, said="gave no answer"),
    "duplicate": Cell(by.twice),
    "late-duplicate": Cell(by.late_twin),
    "zombie": Cell(by.zombie),
    "reset-in-the-body": Cell(by.reset_in_body, said="gave no answer"),
    "half-an-answer": Cell(by.half_of_the_answer, said="gave no answer"),
    "silence": Cell(by.silence, said="no whole answer within 5 s", timeout="5 s"),
    "slow": Cell(by.slow_way, (0,), said="no whole answer within 5 s", timeout="5 s"),
    "429": Cell(by.answers(refusal(429, "circuit_breaking_exception")), said="circuit_breaking_exception"),
    "429-of-some": Cell(busy_for_some, said="rejected_execution_exception"),
    "429-of-some-that-were-made": Cell(says_busy_of_some, said="rejected_execution_exception"),
    "429-of-some-for-ever": Cell(busy_for_some, ALWAYS, "10 s", "rejected_execution_exception", "marked"),
    "429-for-ever": Cell(by.answers(refusal(429, "circuit_breaking_exception")), ALWAYS, "10 s", "circuit_breaking", "all"),
    "500-after": Cell(by.answers_after(Answer(500)), said="answered 500"),
    "503": Cell(by.answers(refusal(503, "cluster_manager_not_discovered_exception")), said="not_discovered"),
    "403": Cell(by.answers(refusal(403, "security_exception")), said="allow this user"),
    "not-json": Cell(html, said="not as OpenSearch does"),
    "items-missing": Cell(forgets_items, said="items instead of"),
    "huge": Cell(huge, said="answered with more than"),
    "endless": Cell(by.endless(Answer(200, ()), b" " * 65536), said="answered with more than"),
    "dripping": Cell(by.endless(Answer(200, ()), b" ", by.PAUSE), said="no whole answer within 5 s", timeout="5 s"),
    "307": Cell(by.answers(Answer(307, (("Location", "http://127.0.0.1:1/_bulk"),))), said="redirects are not followed"),
}  # fmt: skip


def is_bulk(exchange):
    return exchange.path.startswith("/_bulk")


class Deliveries:
    """All cells at once: their proxies, the daemon, and what was put."""

    def __init__(self, server, directory, stack):
        self.directory, self.proxies = directory, {}
        for name, cell in CELLS.items():
            fault = lambda number, cell=cell: cell.fault if number in cell.when else None
            self.proxies[name] = stack.enter_context(FaultProxy(server.endpoint, fault, is_bulk))
            # Beforehand, for on a busy machine making them all at once takes longer than a request may.
            server.call("PUT", f"{name}.cell", {"settings": {"number_of_replicas": 0}})
        self.daemon = hydrant.Daemon(directory, [self.stream(name) for name in CELLS]).start()
        self.told = proof.Told(self.daemon)
        for count in ROUNDS:
            for name in CELLS:
                self.told.put(name, count, lambda number: proof.record(number, 300))

    def stream(self, name):
        search = {"endpoint": self.proxies[name].endpoint, "index": f"{name}.cell", "index_rotation": "none",
                  "retry": CELLS[name].retry, "request_timeout": CELLS[name].timeout}  # fmt: skip
        backup = {"directory": str(self.directory / "backup" / name), "error_output_prefix": "errors/"}
        return {"name": name, "buffering": {"size": "1 MiB", "interval": "0 s"},
                "destination": {"opensearch": search}, "backup": {"records": "failed", "file": backup}}  # fmt: skip

    def failed(self, name):
        backup = self.directory / "backup" / name
        return lake.failed_records(lake.in_directory(backup) if backup.exists() else [])


@pytest.fixture(scope="module")
def deliveries(server, tmp_path_factory):
    with contextlib.ExitStack() as stack:
        made = Deliveries(server, tmp_path_factory.mktemp("faults"), stack)
        yield made
        print(made.daemon.log_tail())
        made.daemon.kill()


@pytest.mark.parametrize("name", CELLS)
def test_each_record_is_one_document_or_one_error_record(server, deliveries, name):
    cell, daemon, told, proxy = CELLS[name], deliveries.daemon, deliveries.told, deliveries.proxies[name]
    daemon.wait_drained(name, seconds=200)
    while cell.when is not ALWAYS and proxy.counted <= max(cell.when):
        told.put(name, 10)
        daemon.wait_drained(name)
    documents = [source["id"] for _, source in server.documents(f"{name}.cell")]
    rows = deliveries.failed(name)
    gone = [json.loads(original)["id"] for original, _ in rows]
    names = told.names(name)
    failed = {"none": set(), "marked": MARKED, "all": names}[cell.failed]
    lake.same_multiset(documents, names - failed)
    lake.same_multiset(gone, failed)
    entry = proof.status(daemon, name)
    counted = [entry[place] for place in ("stored", "delivered", "failed", "backlog")]
    assert counted == [len(names), len(documents), len(gone), 0], entry
    for _, row in rows:
        assert row["errorCode"] == "429" and cell.said in row["errorMessage"] and row["attemptsMade"] > 1, row
    assert proxy.spoiled >= (len(cell.when) if cell.when is not ALWAYS else 2), "it met every fault"
    complaints = [line for line in daemon.log().splitlines() if f'"{name}"' in line]
    assert any(cell.said in line for line in complaints) or not cell.said, complaints

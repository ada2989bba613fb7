"""kill -9 under load while every second request to a real MinIO and a real OpenSearch meets a fault, drawn by lot; then the oracle.

HYDRANT_SEED repeats the lots and the moments (not the scheduler), HYDRANT_ROUNDS sets the number of kills.
"""

import json
import random
from collections import Counter

import fault_proxy as by
import hydrant
import lake
import proof
from fault_proxy import Answer, FaultProxy, error
from load import Load, rounds
from test_faults_opensearch import MARKED, busy_for_some, is_bulk, refusal
from test_faults_s3 import is_put
from test_kill import pause

ROUNDS = rounds(usual=10, long=1000)
# More would only pile up: OpenSearch takes fewer than the producers put.
BACKLOG_MAX = 20_000
ANYWHERE = [by.lost, by.lost_before, by.twice, by.zombie, by.late_twin, by.reset_in_body, by.half_of_the_answer]
AT_MINIO = [by.flipped_bit, by.answers(error(503, "SlowDown")), by.answers_after(error(500, "InternalError")),
            by.answers_after(error(409, "ConditionalRequestConflict"))]  # fmt: skip
AT_OPENSEARCH = [by.answers(refusal(429, "circuit_breaking_exception")), by.answers_after(Answer(500))]


def streams(minio_proxy, bucket, search_proxy, backup):
    buffering = {"size": "1 MiB", "interval": "0 s"}
    naming = {"prefix": "data/!{timestamp:yyyy}/", "error_output_prefix": "errors/"}
    search = {"endpoint": search_proxy.endpoint, "index": "faults-and-kills", "index_rotation": "none", "request_timeout": "5 s"}
    return [
        {"name": "to-minio", "buffering": buffering,
         "destination": {"s3": {"bucket": bucket, "endpoint": minio_proxy.endpoint, **naming}}},
        {"name": "to-search", "buffering": buffering, "destination": {"opensearch": {**search, "retry": "2 h"}},
         "backup": {"records": "failed", "file": {"directory": str(backup)}}},
    ]  # fmt: skip


def test_killed_on_a_bad_way_each_record_is_there_once(daemon_of, minio, bucket, server, tmp_path):
    rng = random.Random(hydrant.seed())
    load = Load(rng, ["to-minio", "to-search"])
    calm = []

    def lots(of):
        mine = random.Random(rng.random())
        return lambda number: mine.choice(of) if not calm and mine.random() < 0.5 else None

    backup = tmp_path / "backup"
    with (
        FaultProxy(minio.endpoint, lots(ANYWHERE + AT_MINIO), is_put) as minio_proxy,
        FaultProxy(server.endpoint, lots(ANYWHERE + AT_OPENSEARCH), is_bulk) as search_proxy,
    ):
        both = streams(minio_proxy, bucket, search_proxy, backup)
        daemon = daemon_of(both, s3=minio.connection(), environment=minio.environment())
        for _ in range(ROUNDS):
            daemon.start()
            hydrant.wait_until("it catches up", lambda: daemon.accounting("to-search")["backlog"] < BACKLOG_MAX, seconds=180)
            with load.on(daemon):
                pause(rng.uniform(0.1, 1.8))
                daemon.kill_alive()
        calm.append(True)
        daemon.start()
        counters = {name: daemon.wait_drained(name, seconds=180) for name in ("to-minio", "to-search")}
    problems, rows = load.judge("to-minio", lake.in_bucket(minio.client, bucket))
    assert not problems, f"{len(problems)} problems: {problems[:10]}"
    assert counters["to-minio"]["stored"] == counters["to-minio"]["delivered"] == rows
    stored = Counter(asked.path for asked in minio_proxy.asked if asked.method == "PUT" and asked.status == 200)
    assert set(stored.values()) == {1}, f"each name is written once: {stored.most_common(3)}"
    documents = Counter(source["id"] for _, source in server.documents("faults-and-kills"))
    assert not backup.exists() or lake.in_directory(backup) == []
    assert set(documents.values()) == {1}, f"twice: {documents.most_common(3)}"
    assert load.acked("to-search") <= set(documents) <= load.sent("to-search")
    assert counters["to-search"]["stored"] == counters["to-search"]["delivered"] == len(documents)
    print(f"{ROUNDS} kills, {minio_proxy.spoiled} and {search_proxy.spoiled} faults; {rows} rows, {len(documents)} documents")
    assert load.acked_ever() > ROUNDS * 40 and min(minio_proxy.spoiled, search_proxy.spoiled) > ROUNDS // 2, "too little to prove anything"


def test_a_verdict_outlives_a_crash(daemon_of, minio, bucket, server):
    """Refused documents are in no doubt once that is staged: the backup gets them, though OpenSearch would take them now."""
    shut = [True]
    busy = lambda number: busy_for_some if shut else None
    refuse = lambda number: by.answers(error(503, "SlowDown")) if shut else None
    with FaultProxy(server.endpoint, busy, is_bulk) as search_proxy, FaultProxy(minio.endpoint, refuse, is_put) as backup_proxy:
        search = {"endpoint": search_proxy.endpoint, "index": "verdicts", "index_rotation": "none", "retry": "3 s"}
        backup = {"bucket": bucket, "endpoint": backup_proxy.endpoint, "error_output_prefix": "errors/"}
        events = {"name": "events", "buffering": {"size": "1 MiB", "interval": "0 s"}, "destination": {"opensearch": search},
                  "backup": {"records": "failed", "s3": backup}}  # fmt: skip
        daemon = daemon_of([events], s3=minio.connection(), environment=minio.environment()).start()
        told = proof.Told(daemon)
        told.put("events", 400)
        hydrant.wait_until("the backup is tried", lambda: backup_proxy.spoiled)
        assert proof.status(daemon, "events")["backlog"] == 400
        daemon.kill_alive()
        asked = search_proxy.counted
        shut.clear()
        daemon.start()
        counters = daemon.wait_drained("events")
        assert search_proxy.counted == asked, "nothing of the chunk is sent to OpenSearch again"
        assert (counters["delivered"], counters["failed"]) == (400 - len(MARKED), len(MARKED))
    lake.same_multiset([source["id"] for _, source in server.documents("verdicts")], told.names("events") - MARKED)
    rows = lake.failed_records(lake.in_bucket(minio.client, bucket))
    lake.same_multiset([json.loads(original)["id"] for original, _ in rows], MARKED)
    assert {row["errorCode"] for _, row in rows} == {"429"}, rows

"""Records to documents of a real OpenSearch: every record is one document or one error record, whatever happens between."""

import base64
import datetime
import json
import random
import subprocess

import clients
import hydrant
import lake
from load import Load, rounds
from opensearch import Proxy
from test_kill import kill_in_any_order, pause

RECORDS = 10_000
ROUNDS = rounds(usual=10, long=100)
# A node takes seconds to start.
ROUNDS_OF_BOTH = rounds(usual=3, long=100)


def stream(endpoint, index, backup, **search):
    return {
        "name": "events",
        "buffering": {"size": "1 MiB", "interval": "1 s"},
        "destination": {"opensearch": {"endpoint": endpoint, "index": index, "retry": "300 s", **search}},
        "backup": {"records": "failed", "file": {"directory": str(backup),
                                                 "error_output_prefix": "errors/!{firehose:error-output-type}/"}},
    }  # fmt: skip


def event(number):
    return json.dumps({"id": str(number), "number": number, "pad": "x" * 200}).encode()


def failed(backup):
    """Every error record of the backup, and the bytes that were put."""
    objects = lake.in_directory(backup) if backup.exists() else []
    assert all(found.key.startswith("errors/AmazonOpenSearchService-failed/") for found in objects), objects
    return lake.failed_records(objects)


def check(server, index, backup, numbers, refused=()):
    """Each number is one document, each of `refused` is one error record, and there is nothing else."""
    lake.same_multiset([source["id"] for _, source in server.documents(index)], map(str, numbers))
    lake.same_multiset([data for data, _ in failed(backup)], refused)


def test_every_record_is_one_document_or_one_error_record(server, daemon_of, tmp_path):
    server.call("PUT", "_index_template/typed", {
        "index_patterns": ["typed-*"], "template": {"mappings": {"properties": {"number": {"type": "long"}}}},
    })  # fmt: skip
    backup = tmp_path / "backup"
    daemon = daemon_of([stream(server.endpoint, "typed", backup, index_rotation="one_day")]).start()
    days = {datetime.datetime.now(datetime.timezone.utc).date()}
    no_number = [json.dumps({"id": "a", "number": f"no number {n}"}).encode() for n in range(50)]
    own_id = [b'{"_id":"mine","number":1}']
    no_json = [b"text", b"[1]", b'{"a":1}{"b":2}', b"\xff\xfe", b'{"a":"\n"}', b'{"cut":']
    several_lines = b'{\r\n  "id": "-1",\n  "number": -1\n}\n'
    records = [event(number) for number in range(RECORDS)] + no_number + own_id + no_json + [several_lines]
    random.Random(hydrant.seed()).shuffle(records)
    clients.put_all(clients.firehose(daemon), "events", records)
    counters = daemon.wait_drained("events")
    days.add(datetime.datetime.now(datetime.timezone.utc).date())
    bad = no_number + own_id + no_json
    assert (counters["stored"], counters["delivered"], counters["failed"]) == (len(records), RECORDS + 1, len(bad))
    check(server, "typed", backup, range(-1, RECORDS), bad)
    indices = {index for index, _ in server.documents("typed")}
    assert indices <= {f"typed-{day.isoformat()}" for day in days}, indices
    for data, row in failed(backup):
        assert row["errorCode"] == "400" and row["esIndexName"] in indices and row["esTypeName"] == "", row
        assert json.loads(row["errorMessage"])["type"] == "mapper_parsing_exception", row
        assert len(row["esDocumentId"]) == 27 and row["attemptsMade"] == 1, row
        if data in no_number:
            assert "failed to parse field [number] of type [long]" in row["errorMessage"], row


KINDS = ["lost", "500", "503", "500 after", "reset", "half", "garbage", "redirect"]


def faults(number):
    """Every second request meets one of all that the network and the server may do; then nothing more."""
    return KINDS[number // 2] if number % 2 == 0 and number < 2 * len(KINDS) else None


def test_every_fault_between_and_no_document_twice(server, daemon_of, tmp_path):
    backup = tmp_path / "backup"
    with Proxy(server, faults) as proxy:
        daemon = daemon_of([stream(proxy.endpoint, "faults", backup, request_size="100 KiB")]).start()
        clients.put_all(clients.firehose(daemon), "events", map(event, range(RECORDS)))
        counters = daemon.wait_drained("events", seconds=240)
        assert proxy.faults_done == len(KINDS) and counters["delivered"] == counters["stored"] == RECORDS
    check(server, "faults", backup, range(RECORDS))


def test_items_that_are_put_off_for_ever_go_to_the_backup(server, daemon_of, tmp_path):
    backup = tmp_path / "backup"
    put_off = [event(number) for number in (0, 77, 1999)]
    answer = {"status": 429, "error": {"type": "rejected_execution_exception", "reason": "by the proxy"}}
    busy = lambda document: answer if document in put_off else None
    with Proxy(server, lambda _number: busy) as proxy:
        daemon = daemon_of([stream(proxy.endpoint, "busy", backup, retry="4 s")]).start()
        clients.put_all(clients.firehose(daemon), "events", map(event, range(2000)))
        counters = daemon.wait_drained("events")
        assert (counters["delivered"], counters["failed"]) == (1997, 3)
    gone = {0, 77, 1999}
    check(server, "busy", backup, [number for number in range(2000) if number not in gone], put_off)
    for _, row in failed(backup):
        assert row["errorCode"] == "429" and "rejected_execution_exception" in row["errorMessage"], row
        assert row["attemptsMade"] > 1 and row["attemptEndingTimestamp"] - row["arrivalTimestamp"] >= 3000, row


def test_a_blocked_index_waits_for_the_operator(server, daemon_of, tmp_path):
    backup = tmp_path / "backup"
    server.call("PUT", "blocked", {"settings": {"index.blocks.write": True}})
    daemon = daemon_of([stream(server.endpoint, "blocked", backup, index_rotation="none")]).start()
    clients.put_all(clients.firehose(daemon), "events", map(event, range(500)))
    hydrant.wait_until("the log names the block", lambda: "cluster_block_exception" in daemon.log())
    assert daemon.accounting("events")["backlog"] == 500
    server.call("PUT", "blocked/_settings", {"index.blocks.write": None})
    assert daemon.wait_drained("events", seconds=180)["delivered"] == 500
    check(server, "blocked", backup, range(500))


def test_the_server_is_killed_and_comes_back(server, daemon_of, tmp_path):
    backup = tmp_path / "backup"
    daemon = daemon_of([stream(server.endpoint, "outage", backup)]).start()
    client = clients.firehose(daemon)
    clients.put_all(client, "events", map(event, range(2000)))
    hydrant.wait_until("something is delivered", lambda: daemon.accounting("events")["delivered"] > 0)
    server.kill()
    clients.put_all(client, "events", map(event, range(2000, 6000)))
    daemon.kill_alive()
    daemon.start()
    clients.put_all(client, "events", map(event, range(6000, 8000)))
    server.start()
    counters = daemon.wait_drained("events", seconds=180)
    assert counters["delivered"] == counters["stored"] == 8000
    check(server, "outage", backup, range(8000))


def test_kill_nine_makes_no_document_twice(server, daemon_of, tmp_path):
    rng = random.Random(hydrant.seed())
    backup = tmp_path / "backup"
    load = Load(rng, ["events"])
    lost = lambda number: "lost" if number % 3 == 1 else None
    with Proxy(server, lost) as proxy:
        daemon = daemon_of([stream(proxy.endpoint, "killed", backup)])
        for _ in range(ROUNDS):
            daemon.start()
            with load.on(daemon):
                pause(rng.uniform(0.1, 1.8))
                daemon.kill_alive()
        counters = daemon.start().wait_drained("events", seconds=240)
    documents = [source["id"] for _, source in server.documents("killed")]
    sent, acked = load.sent("events"), load.acked("events")
    assert len(documents) == len(set(documents)) == counters["delivered"], "twice, or not counted"
    assert acked <= set(documents) <= sent, f"{len(acked - set(documents))} lost, {len(set(documents) - sent)} invented"
    assert failed(backup) == [] and len(acked) > ROUNDS * 40, len(acked)
    print(f"{ROUNDS} kills, {len(acked)} acked, {len(documents)} documents")


def test_both_are_killed_and_each_record_is_one_document(server, daemon_of, tmp_path):
    rng = random.Random(hydrant.seed())
    backup = tmp_path / "backup"
    load = Load(rng, ["events"], producers=2)
    daemon = daemon_of([stream(server.endpoint, "both", backup, retry="2 h", request_timeout="5 s")]).start()
    for number in range(ROUNDS_OF_BOTH):
        with load.on(daemon):
            pause(rng.uniform(0.5, 2.0))
            kill_in_any_order(rng, server.kill, daemon.kill_alive)
        starts = [server.start, daemon.start]
        rng.shuffle(starts)
        for start in starts:
            start()
        if rng.random() < 0.5:
            hydrant.wait_until(f"round {number} ends", lambda: daemon.accounting("events")["backlog"] == 0, seconds=120)
    counters = daemon.wait_drained("events", seconds=240)
    assert counters["stored"] == counters["delivered"]
    sent, acked = load.sent("events"), load.acked("events")
    documents = [source["id"] for _, source in server.documents("both")]
    assert len(documents) == len(set(documents)) == counters["delivered"], "twice, or not counted"
    assert acked <= set(documents) <= sent, f"{len(acked - set(documents))} lost, {len(set(documents) - sent)} invented"
    assert failed(backup) == [] and len(acked) > ROUNDS_OF_BOTH * 20, len(acked)
    print(f"{ROUNDS_OF_BOTH} times both killed; {len(acked)} acked, {len(documents)} documents")


def certificates(directory):
    """An authority of our own, and what it says of 127.0.0.1."""
    names = [directory / name for name in ("ca.pem", "ca.key", "server.pem", "server.key", "server.csr", "server.ext")]
    authority, authority_key, certificate, key, request, extensions = names
    extensions.write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    new_key = ["-newkey", "rsa:2048", "-nodes"]
    for command in [
        ["req", "-x509", *new_key, "-days", "2", "-keyout", authority_key, "-out", authority, "-subj", "/CN=tests"],
        ["req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=127.0.0.1"],
        ["x509", "-req", "-in", request, "-CA", authority, "-CAkey", authority_key, "-CAcreateserial", "-days", "2",
         "-extfile", extensions, "-out", certificate],
    ]:  # fmt: skip
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return authority, certificate, key


def test_login_and_a_certificate_of_ones_own(server, daemon_of, tmp_path):
    authority, certificate, key = certificates(tmp_path)
    login = "Basic " + base64.b64encode(b"writer:pass word").decode()
    with Proxy(server, lambda _number: None, (certificate, key), login) as proxy:
        settings = {"user": "writer", "password": "env:SEARCH_PASSWORD", "ca": str(authority)}
        known = stream(proxy.endpoint, "secure", tmp_path / "backup", **settings)
        daemon = daemon_of([known], environment={"SEARCH_PASSWORD": "pass word"}).start()
        clients.put_all(clients.firehose(daemon), "events", map(event, range(100)))
        assert daemon.wait_drained("events")["delivered"] == 100
        check(server, "secure", tmp_path / "backup", range(100))
        # Without the certificate, and with another password, everything waits.
        unknown = stream(proxy.endpoint, "secure", tmp_path / "backup")
        wrong = stream(proxy.endpoint, "secure", tmp_path / "backup", **settings)
        for name, settings, said in [("unknown", unknown, "name its authority's certificate in `ca`"),
                                     ("wrong", wrong, "correct `user` and `password`")]:  # fmt: skip
            daemon = daemon_of([settings], environment={"SEARCH_PASSWORD": "wrong"}).start()
            clients.put_all(clients.firehose(daemon), "events", [event(1)])
            hydrant.wait_until(f"{name} is told", lambda: said in daemon.log())
            assert daemon.accounting("events")["backlog"] == 1
            daemon.kill()


def test_made_and_changed_by_the_api(server, daemon_of, minio, bucket):
    """By the ARN of a domain, whose password is in the YAML alone, then by the endpoint."""
    arn, role = f"arn:aws:es:us-east-1:{hydrant.ACCOUNT}:domain/logs", f"arn:aws:iam::{hydrant.ACCOUNT}:role/x"
    login = "Basic " + base64.b64encode(b"ann:hush").decode()
    with Proxy(server, lambda _number: None, login=login) as proxy:
        domain = {"endpoint": proxy.endpoint, "user": "ann", "password": "plain:hush"}
        daemon = daemon_of([], s3=minio.connection(), environment=minio.environment(), opensearch={arn: domain}).start()
        firehose = clients.firehose(daemon)
        wanted = {
            "RoleARN": role,
            "DomainARN": arn,
            "IndexName": "api",
            "IndexRotationPeriod": "NoRotation",
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 0},
            "RetryOptions": {"DurationInSeconds": 60},
            "S3BackupMode": "AllDocuments",
            "DocumentIdOptions": {"DefaultDocumentIdFormat": "NO_DOCUMENT_ID"},
        }
        store = {"RoleARN": role, "BucketARN": f"arn:aws:s3:::{bucket}", "Prefix": "all/", "ErrorOutputPrefix": "errors/"}
        made = {**wanted, "S3Configuration": store}
        firehose.create_delivery_stream(DeliveryStreamName="events", AmazonopensearchserviceDestinationConfiguration=made)
        shown = lambda: firehose.describe_delivery_stream(DeliveryStreamName="events")["DeliveryStreamDescription"]
        kind = "AmazonopensearchserviceDestinationDescription"
        description = shown()["Destinations"][0][kind]
        assert {name: description[name] for name in wanted} == wanted
        assert {name: description["S3DestinationDescription"][name] for name in store} == store
        clients.put_all(firehose, "events", map(event, range(500)))
        daemon.wait_drained("events")
        update = {"ClusterEndpoint": proxy.endpoint, "IndexName": "changed"}
        firehose.update_destination(
            DeliveryStreamName="events", CurrentDeliveryStreamVersionId="1", DestinationId="destinationId-000000000001",
            AmazonopensearchserviceDestinationUpdate=update,
        )  # fmt: skip
        changed = shown()
        assert "DomainARN" not in changed["Destinations"][0][kind]
        assert {name: changed["Destinations"][0][kind][name] for name in update} == update
        daemon.kill_alive()
        daemon.start()
        assert shown() == changed
        clients.put_all(firehose, "events", map(event, range(500, 800)))
        assert daemon.wait_drained("events")["delivered"] == 800
    for index, numbers in (("api", range(500)), ("changed", range(500, 800))):
        lake.same_multiset([source["id"] for _, source in server.documents(index)], map(str, numbers))
    backed_up = lake.in_bucket(minio.client, bucket)
    assert backed_up and all(found.key.startswith("all/") for found in backed_up)
    lake.same_multiset([row["number"] for found in backed_up for row in found.rows()], range(800))
    firehose.delete_delivery_stream(DeliveryStreamName="events")

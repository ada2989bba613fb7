"""`hydrant status` tells what `hydrant check` found out about each bucket, when, and what follows from it."""

import re

import hydrant
import proof
from fault_proxy import FaultProxy
from receiver import Receiver


def without_condition(exchange):
    """A store that does not know `If-None-Match`: every PUT wins."""
    with exchange.server.proxy.lock:
        exchange.server.proxy.taken += 1
    exchange.body()
    exchange.send_response(200)
    exchange.send_header("ETag", '"e"')
    exchange.send_header("Content-Length", "0")
    exchange.end_headers()


def store(endpoint, bucket):
    s3 = {"bucket": bucket, "endpoint": endpoint, "prefix": "data/", "error_output_prefix": "errors/"}
    return {"destination": {"s3": s3}}


def metrics(daemon):
    text = daemon.admin("/metrics")[1].decode()
    return {name: float(value) for name, value in re.findall(r'^(hydrant_store_\w+\{delivery_stream="\w+",to="\w+"\}) (\S+)$', text, re.M)}


def test_what_a_probe_found_is_told(daemon_of, minio, bucket, tmp_path):
    with FaultProxy(minio.endpoint, lambda number: without_condition, lambda it: it.command == "PUT") as proxy:
        proxy.taken = 0
        streams = [{"name": "held", **store(minio.endpoint, bucket)}, {"name": "ignored", **store(proxy.endpoint, bucket)},
                   {"name": "files", "destination": {"file": {"directory": str(tmp_path / "lake")}}}]  # fmt: skip
        daemon = daemon_of(streams, s3=minio.connection(), environment=minio.environment()).start()
        for name in ("held", "ignored"):
            known = proof.status(daemon, name)["store"]
            assert known["conditional_writes"] is None and "run `hydrant check`" in known["means"], known
            assert known["store"].startswith(f"s3://{bucket} (http://"), known
        assert "store" not in proof.status(daemon, "files") and metrics(daemon) == {}
        status, out, err = hydrant.command("check", "-c", daemon.config_file, environment=daemon.environment)
        assert status == 0 and proxy.taken == 8, out + err
        daemon.stop()
        daemon.start()
        told = lambda name: proof.status(daemon, name)["store"]
        hydrant.wait_until("it was looked up", lambda: told("held")["probed_ms"])
        assert told("held")["conditional_writes"] is True and "nothing is ever overwritten" in told("held")["means"]
        assert told("ignored")["conditional_writes"] is False and "would be overwritten" in told("ignored")["means"]
        values = metrics(daemon)
        assert [values[f'hydrant_store_conditional_writes{{delivery_stream="{name}",to="destination"}}'] for name in ("held", "ignored")] == [1, 0]
        assert values['hydrant_store_probed_timestamp_seconds{delivery_stream="held",to="destination"}'] > 1_700_000_000
        status, out, err = hydrant.command("status", "-c", daemon.config_file, environment=daemon.environment)
        assert status == 0 and re.search(r"held: s3://\S+ \(\S+\): holds .* \(probed 20\d\d-", out), out + err


def test_a_backup_is_looked_at_too(daemon_of, minio, bucket):
    receiver = Receiver()
    try:
        calls = {"name": "calls", "destination": {"http_endpoint": {"url": receiver.url}},
                 "backup": {"records": "failed", **store(minio.endpoint, bucket)["destination"]}}  # fmt: skip
        daemon = daemon_of([calls], s3=minio.connection(), environment=minio.environment()).start()
        known = proof.status(daemon, "calls")
        assert "store" not in known and "run `hydrant check`" in known["backup_store"]["means"], known
        status, out, err = hydrant.command("check", "-c", daemon.config_file, environment=daemon.environment)
        assert status == 0 and re.search(rf"calls: backup: s3://{bucket} \(\S+\) can be reached, and holds", out), out + err
        daemon.stop()
        daemon.start()
        hydrant.wait_until("it was looked up", lambda: proof.status(daemon, "calls")["backup_store"]["probed_ms"])
        assert metrics(daemon)['hydrant_store_conditional_writes{delivery_stream="calls",to="backup"}'] == 1
        status, out, err = hydrant.command("status", "-c", daemon.config_file, environment=daemon.environment)
        assert status == 0 and re.search(r"calls: backup: s3://\S+ \(\S+\): holds .* \(probed 20\d\d-", out), out + err
        # A bucket that is missing is found before its first failed record has nowhere to go.
        calls["backup"]["s3"]["bucket"] = "nobody-made-it"
        other = daemon_of([calls], s3=minio.connection(), environment=minio.environment())
        status, out, err = hydrant.command("check", "-c", other.config_file, environment=other.environment)
        assert status == 78 and "delivery stream `calls`: backup: " in err and "nobody-made-it" in err, out + err
    finally:
        receiver.stop()

"""Clients of the API: unchanged boto3, and a light signer of our own for load and for hostile requests.

The signer shares no code with the daemon.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import json

import boto3
import botocore.config

import hydrant

CONTENT_TYPE = "application/x-amz-json-1.1"


def firehose(daemon, access_key=hydrant.ACCESS_KEY, secret_key=hydrant.SECRET_KEY):
    """What a user has, and only the endpoint, region and credentials are given. No retries: a test wants the first answer."""
    return boto3.client(
        "firehose",
        endpoint_url=daemon.endpoint,
        region_name=hydrant.REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=60),
    )


def sign(host, target, body, when=None, service="firehose", secret_key=hydrant.SECRET_KEY):
    """Headers of a request signed by Signature Version 4."""
    when = when or datetime.datetime.now(datetime.timezone.utc)
    stamp, day = when.strftime("%Y%m%dT%H%M%SZ"), when.strftime("%Y%m%d")
    headers = {"content-type": CONTENT_TYPE, "host": host, "x-amz-date": stamp, "x-amz-target": target}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{day}/{hydrant.REGION}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + secret_key).encode()
    for part in (day, hydrant.REGION, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={hydrant.ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers


class Signer:
    """One keep-alive connection. A lost connection is an `OSError` or `HTTPException`; the next request opens a new one."""

    def __init__(self, daemon, timeout=30):
        self.host = f"127.0.0.1:{daemon.api_port}"
        self.connection = http.client.HTTPConnection("127.0.0.1", daemon.api_port, timeout=timeout)

    def post(self, operation, body, **signing):
        """Status and parsed body (the raw body when it is not JSON)."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = sign(self.host, f"Firehose_20150804.{operation}", body, **signing)
        try:
            self.connection.request("POST", "/", body, headers)
            answer = self.connection.getresponse()
            raw = answer.read()
        except BaseException:
            self.connection.close()
            raise
        try:
            return answer.status, json.loads(raw)
        except ValueError:
            return answer.status, raw

    def put_batch(self, stream, payloads):
        """The indexes of the records that were acked; none when the whole request was refused."""
        records = [{"Data": base64.b64encode(payload).decode()} for payload in payloads]
        status, answer = self.post("PutRecordBatch", {"DeliveryStreamName": stream, "Records": records})
        if status != 200:
            return []
        entries = answer["RequestResponses"]
        assert len(entries) == len(payloads), "one answer per record"
        acked = [index for index, entry in enumerate(entries) if "RecordId" in entry]
        assert len(payloads) - len(acked) == answer["FailedPutCount"]
        return acked


def put_all(client, stream, payloads, batch=400):
    """Sends everything by `PutRecordBatch` and fails if one record was refused."""
    payloads = list(payloads)
    for start in range(0, len(payloads), batch):
        answer = client.put_record_batch(
            DeliveryStreamName=stream, Records=[{"Data": payload} for payload in payloads[start : start + batch]]
        )
        assert answer["FailedPutCount"] == 0, answer

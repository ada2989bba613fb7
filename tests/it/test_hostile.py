"""Requests that no SDK sends: nothing of them is stored, and the server goes on serving others."""

import base64
import datetime
import socket

import pytest

import clients
import hydrant

STREAM = "lines"
RECORD = {"DeliveryStreamName": STREAM, "Record": {"Data": base64.b64encode(b"x").decode()}}


@pytest.fixture
def daemon(daemon_of, tmp_path):
    stream = {"name": STREAM, "destination": {"file": {"directory": str(tmp_path / "lake")}}}
    daemon = daemon_of([stream]).start()
    yield daemon
    # Whatever was sent: nothing is stored, and a good client is served.
    assert daemon.accounting(STREAM)["stored"] == 0
    status, answer = clients.Signer(daemon).post("PutRecord", RECORD)
    assert status == 200 and answer["RecordId"], answer
    assert daemon.accounting(STREAM)["stored"] == 1
    daemon.stop()


def error(status_and_answer, status=400):
    got, answer = status_and_answer
    assert got == status, answer
    assert isinstance(answer, dict) and "message" in {key.lower() for key in answer}, answer
    return answer["__type"].split("#")[-1]


@pytest.mark.parametrize("data", ["eA", "e A==", "eA==!", "*", "eA===", "e\\u00e9=="])
def test_bad_base64(daemon, data):
    body = f'{{"DeliveryStreamName":"{STREAM}","Record":{{"Data":"{data}"}}}}'.encode()
    assert error(clients.Signer(daemon).post("PutRecord", body)) == "SerializationException"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"DeliveryStreamName":"lines","Record":{"Data":"eA=="}',
        b'{"DeliveryStreamName":7,"Record":{"Data":"eA=="}}',
        b'{"DeliveryStreamName":"lines","Record":{"Data":"eA=="}} trailing',
        b'{"a":' * 100_000,
        b"\xff\xfe",
    ],
    ids=["empty", "open", "array", "truncated", "wrong-type", "trailing", "deep", "not-utf8"],
)
def test_broken_json(daemon, body):
    assert error(clients.Signer(daemon).post("PutRecord", body)) in ("SerializationException", "ValidationException")


def test_skewed_clocks(daemon):
    now = datetime.datetime.now(datetime.timezone.utc)
    for minutes in (-16, 16, -60 * 24 * 400):
        code = error(clients.Signer(daemon).post("PutRecord", RECORD, when=now + datetime.timedelta(minutes=minutes)))
        assert code in ("InvalidSignatureException", "RequestExpired"), code


def test_signed_for_another_service(daemon):
    assert error(clients.Signer(daemon).post("PutRecord", RECORD, service="s3")) == "InvalidSignatureException"


def test_unknown_operation(daemon):
    assert error(clients.Signer(daemon).post("PutRecords", RECORD)) == "UnknownOperationException"


def raw(daemon, request, timeout=30):
    """Sends bytes and reads until the server closes or has answered."""
    with socket.create_connection(("127.0.0.1", daemon.api_port), timeout=timeout) as connection:
        try:
            connection.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass  # It may have answered and closed already.
        try:
            return connection.recv(65536)
        except ConnectionResetError:
            return b""


def test_a_body_over_the_cap(daemon):
    body = b"x" * (9 << 20)
    headers = clients.sign("127.0.0.1", "Firehose_20150804.PutRecord", body)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    start = f"POST / HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode()
    # The head alone is enough for the answer: the body is never read into memory.
    assert raw(daemon, start).startswith(b"HTTP/1.1 413 ")
    chunked = f"POST / HTTP/1.1\r\n{head}transfer-encoding: chunked\r\n\r\n".encode()
    chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    answer = raw(daemon, chunked + chunk * 9)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413 "), answer


def test_no_signature(daemon):
    body = b"{}"
    request = (
        f"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: {clients.CONTENT_TYPE}\r\n"
        f"x-amz-target: Firehose_20150804.PutRecord\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    answer = raw(daemon, request + body)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"MissingAuthenticationTokenException" in answer, answer


def test_garbage_instead_of_http(daemon):
    assert raw(daemon, b"\x16\x03\x01" + b"\x00" * 200).startswith((b"HTTP/1.1 400", b""))


def test_slow_clients_are_cut_off_and_others_are_served(daemon):
    """Slow loris: 50 connections that begin a head and never end it, 10 that never send the body they announced."""
    head = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: {clients.CONTENT_TYPE}\r\n".encode()
    connections = []
    try:
        for number in range(60):
            connection = socket.create_connection(("127.0.0.1", daemon.api_port), timeout=90)
            connection.sendall(head if number < 50 else head + b"content-length: 1000\r\n\r\n{")
            connections.append(connection)
        status, answer = clients.Signer(daemon, timeout=5).post("ListDeliveryStreams", {})
        assert status == 200 and answer["DeliveryStreamNames"] == [STREAM]
        for connection in connections:
            # An answer such as 408 may come first; the end of the stream must.
            while connection.recv(4096):
                pass
    finally:
        for connection in connections:
            connection.close()


def test_two_requests_in_one_packet_are_both_answered(daemon):
    body = b'{"Limit": 1}'
    headers = clients.sign("x", "Firehose_20150804.ListDeliveryStreams", body)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST / HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body
    with socket.create_connection(("127.0.0.1", daemon.api_port), timeout=30) as connection:
        connection.sendall(request * 2)
        received = b""
        while received.count(b"HTTP/1.1 200") < 2 or received.count(STREAM.encode()) < 2:
            part = connection.recv(65536)
            assert part, received
            received += part
    assert hydrant.wait_until("ready", daemon.is_ready)

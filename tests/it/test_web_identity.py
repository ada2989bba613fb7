"""S3 with the credentials of a role: a token of an OpenID provider, MinIO's STS, and nothing else on the machine."""

import base64
import datetime
import hashlib
import json
import os
import re
import subprocess
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import hydrant
import lake
import minio as minio_server
import proof
from fault_proxy import Answer, FaultProxy
from test_opensearch import certificates

CLIENT = "hydrant-daemon"
# MinIO names the role after the client that its tokens are for.
ROLE = "arn:minio:iam:::role/" + base64.urlsafe_b64encode(hashlib.sha1(CLIENT.encode()).digest()).decode().rstrip("=")


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


def url64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Issuer:
    """An OpenID provider: discovery, keys, and tokens that it has signed."""

    def __init__(self, directory):
        self.key = directory / "issuer.key"
        openssl("genrsa", "-out", self.key, "2048")
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps(issuer.keys() if self.path == "/keys" else issuer.discovery()).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def discovery(self):
        return {
            "issuer": self.url, "jwks_uri": f"{self.url}/keys", "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token", "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
        }  # fmt: skip

    def keys(self):
        modulus = openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().strip().removeprefix("Modulus=")
        return {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one", "n": url64(bytes.fromhex(modulus)), "e": "AQAB"}]}

    def token(self, subject, audience=CLIENT):
        now = int(time.time())
        claims = {"iss": self.url, "aud": audience, "sub": subject, "iat": now, "exp": now + 7200}
        parts = [{"alg": "RS256", "typ": "JWT", "kid": "one"}, claims]
        signed = ".".join(url64(json.dumps(part).encode()) for part in parts)
        return signed + "." + url64(openssl("dgst", "-sha256", "-sign", self.key, data=signed.encode()))


@pytest.fixture
def issuer(tmp_path):
    made = Issuer(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def store(issuer, tmp_path_factory):
    """A MinIO that believes the issuer."""
    directory = tmp_path_factory.mktemp("minio-openid")
    settings = {"CONFIG_URL": f"{issuer.url}/.well-known/openid-configuration", "CLIENT_ID": CLIENT, "CLIENT_SECRET": "none",
                "ROLE_POLICY": "readwrite"}  # fmt: skip
    server = minio_server.Minio(directory)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(f"MINIO_IDENTITY_OPENID_{name}", value)
        server.start()
    try:
        yield server
    finally:
        server.stop()


class Sts:
    """What happens to requests for credentials on their way: they are remembered, and live as long as the test says."""

    def __init__(self):
        self.tokens, self.seconds = [], None

    def is_asked(self, exchange):
        return exchange.command == "POST" and "AssumeRoleWithWebIdentity" in exchange.path

    def fault(self, _number):
        return self.answer

    def answer(self, exchange):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(exchange.path).query)
        self.tokens.append(query["WebIdentityToken"][0])
        assert query["RoleArn"] == [ROLE] and query["RoleSessionName"] == ["delivery"], query
        got = exchange.ask()
        if got.status == 200 and self.seconds is not None:
            until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.seconds)
            body = re.sub(rb"<Expiration>[^<]*", b"<Expiration>" + until.strftime("%Y-%m-%dT%H:%M:%SZ").encode(), got.body)
            got = Answer(got.status, got.headers, body)
        exchange.reply(got)


def test_a_role_is_assumed_by_a_token_that_may_be_renewed(daemon_of, store, issuer, tmp_path):
    authority, *certificate = certificates(tmp_path)
    sts, token_file, bucket = Sts(), tmp_path / "token", store.make_bucket("roles")
    # Credentials go over TLS only; the authority is the one that the store is reached by.
    with FaultProxy(store.endpoint, sts.fault, sts.is_asked, certificate) as proxy:
        s3 = {"bucket": bucket, "prefix": "data/", "error_output_prefix": "errors/"}
        stream = {"name": "events", "buffering": {"interval": "0 s"}, "destination": {"s3": s3}}
        connection = {"endpoint": proxy.endpoint, "region": "us-east-1", "ca": str(authority)}
        environment = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token_file), "AWS_ROLE_ARN": ROLE,
                       "AWS_ROLE_SESSION_NAME": "delivery", "AWS_ENDPOINT_URL_STS": proxy.endpoint}  # fmt: skip
        daemon = daemon_of([stream], s3=connection, environment=environment).start()
        told = proof.Told(daemon)
        told.put("events", 20)
        # Whoever mounts the token is late.
        problem = lambda: proof.status(daemon, "events")["problem"] or ""
        hydrant.wait_until("what is missing is told", lambda: str(token_file) in problem() and "AWS_WEB_IDENTITY_TOKEN_FILE" in problem())
        assert sts.tokens == []
        # One that is for somebody else.
        token_file.write_text(issuer.token("thief", "another-client"))
        hydrant.wait_until("it was refused", lambda: "AccessDenied" in problem() or "InvalidParameterValue" in problem() or "40" in problem())
        assert daemon.accounting("events")["delivered"] == 0
        token_file.write_text(issuer.token("first"))
        daemon.wait_drained("events")
        asked = len(sts.tokens)
        told.put("events", 20)
        daemon.wait_drained("events")
        assert len(sts.tokens) == asked, "what is valid is kept"
        # The credentials are about to expire: whatever the file holds by then is sent.
        daemon.stop()
        sts.seconds = 1
        daemon.start()
        for subject in ("second", "third"):
            fresh = issuer.token(subject)
            os.replace(write(tmp_path / "next", fresh), token_file)
            told.put("events", 20)
            daemon.wait_drained("events")
            hydrant.wait_until("the new token was sent", lambda: told.put("events", 1) or fresh in sts.tokens)
        daemon.wait_drained("events")
        proof.judge(daemon, "events", lake.in_bucket(store.client, bucket), told.names("events"))
        assert not any(subject in daemon.log() for subject in sts.tokens), "a token is a secret"


def write(path, text):
    path.write_text(text)
    return path

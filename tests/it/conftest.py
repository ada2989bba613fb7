"""What several suites start: one MinIO and one OpenSearch per session, and a name for a bucket of each test's own."""

import itertools

import pytest

import hydrant
from minio import Minio
from opensearch import OpenSearch

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def _clean_environment(tmp_path_factory):
    """No setting of the developer's own reaches an AWS client."""
    patch = pytest.MonkeyPatch()
    nowhere = tmp_path_factory.mktemp("aws")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        patch.delenv(name, raising=False)
    patch.setenv("AWS_CONFIG_FILE", str(nowhere / "config"))
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "credentials"))
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    yield
    patch.undo()


@pytest.fixture(scope="session")
def minio(tmp_path_factory):
    server = Minio(tmp_path_factory.mktemp("minio"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """An OpenSearch."""
    node = OpenSearch(tmp_path_factory.mktemp("opensearch"))
    try:
        yield node.start()
    finally:
        node.stop()


@pytest.fixture
def bucket(minio):
    return minio.make_bucket(f"bucket-{next(_numbers)}")


@pytest.fixture
def daemon_of(tmp_path):
    """Makes daemons that do not outlive the test."""
    made = []

    def make(streams, **options):
        made.append(hydrant.Daemon(tmp_path / f"daemon-{len(made)}", streams, **options))
        return made[-1]

    yield make
    for daemon in made:
        if daemon.process is not None:
            print(daemon.log_tail())
        daemon.kill()

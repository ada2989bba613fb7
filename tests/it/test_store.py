"""Whose a data directory is: copies and foreign machines are noticed, restarts and mounts are not, and what cannot be used is said."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import clients
import hydrant

STREAM = "events"
RUNTIME, CORRUPT, IO, CONFIGURATION = 1, 65, 74, 78
NOBODY = 65534


def stream(tmp_path):
    return {
        "name": STREAM,
        "buffering": {"size": "1 MiB", "interval": "900 s"},
        "destination": {"file": {"directory": str(tmp_path / "lake")}},
    }


def put(daemon, count):
    records = [{"Data": clients.base64.b64encode(b'{"id": %d}' % number).decode()} for number in range(count)]
    status, answer = clients.Signer(daemon).post("PutRecordBatch", {"DeliveryStreamName": STREAM, "Records": records})
    assert status == 200 and answer["FailedPutCount"] == 0, answer


def refused(daemon, status, *texts):
    """The daemon on this directory says `texts` and leaves with `status`."""
    got, _, err = hydrant.command("run", "-c", daemon.config_file)
    assert got == status, f"status {got}\n{err}"
    for text in texts:
        assert text in err, err
    assert "\n  hint: " in err, err
    return err


def label(data_dir):
    return json.loads((Path(data_dir) / "STORE").read_text())


@pytest.fixture
def mount():
    """Mounts, and unmounts at the end what is still there."""
    mounted = []

    def make(*arguments):
        done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, f"this test mounts, so it is run as root: {done.stderr.strip()}"
        mounted.append(arguments[-1])
        return arguments[-1]

    yield make
    for place in reversed(mounted):
        subprocess.run(["umount", "-l", place], capture_output=True)


def test_a_copy_is_refused_until_it_is_adopted_by_name(daemon_of, tmp_path):
    daemon = daemon_of([stream(tmp_path)]).start()
    put(daemon, 10)
    daemon.kill()
    original, copy = daemon.data_dir, tmp_path / "copy"
    subprocess.run(["cp", "-a", original, copy], check=True)
    daemon.config["data_dir"] = str(copy)
    daemon.write_config()
    made = label(copy)["store"]
    err = refused(daemon, CONFIGURATION, f"the data directory `{copy}` was made elsewhere, or is a copy: its STORE was inode ")
    assert f"start once with `--adopt {copy}`" in err
    # The flag names a directory, so that it cannot adopt another by accident.
    status, _, err = hydrant.command("run", "-c", daemon.config_file, "--adopt", original)
    assert status == CONFIGURATION and "is not the data directory, which is" in err, err
    assert label(copy)["store"] == made, "nothing was changed"
    daemon.start("--adopt", copy)
    assert daemon.accounting(STREAM)["stored"] == 10
    assert (label(copy)["store"] != made, label(copy)["adopted_from"]) == (True, made)
    daemon.kill()
    daemon.start()
    daemon.stop()
    daemon.config["data_dir"] = str(original)
    daemon.write_config()
    daemon.start("--adopt", original)
    assert "`--adopt` was not needed" in daemon.log(), daemon.log_tail()
    assert label(original)["store"] == made
    daemon.stop()


def test_a_restart_a_bind_mount_and_a_rename_are_no_alarm(daemon_of, mount, tmp_path):
    daemon = daemon_of([stream(tmp_path)]).start()
    put(daemon, 10)
    made = label(daemon.data_dir)
    daemon.kill()
    daemon.start()
    daemon.kill()
    bound, renamed = tmp_path / "bound", tmp_path / "renamed"
    bound.mkdir()
    mount("--bind", daemon.data_dir, bound)
    for place in (bound, renamed):
        if place == renamed:
            subprocess.run(["umount", bound], check=True)
            daemon.data_dir.rename(renamed)
        daemon.config["data_dir"] = str(place)
        daemon.write_config()
        daemon.start()
        assert daemon.accounting(STREAM)["stored"] == 10
        daemon.kill()
        assert label(place) == made


def test_a_file_system_that_is_mounted_again_is_no_alarm(daemon_of, mount, tmp_path):
    """As after a reboot: another device number. Here also another device."""
    image, first, second = tmp_path / "image", tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    with open(image, "wb") as file:
        file.truncate(200 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, stdin=subprocess.DEVNULL)
    occupied = tmp_path / "occupied"
    shutil.copy(image, occupied)
    mount("-o", "loop", image, first)
    daemon = daemon_of([stream(tmp_path)], data_dir=first / "data").start()
    put(daemon, 10)
    daemon.kill()
    device = os.stat(first).st_dev
    subprocess.run(["umount", first], check=True)
    # It takes the loop device that was free, so that the next mount gets another.
    mount("-o", "loop", occupied, first)
    mount("-o", "loop", image, second)
    assert os.stat(second).st_dev != device
    daemon.config["data_dir"] = str(second / "data")
    daemon.write_config()
    daemon.start()
    assert daemon.accounting(STREAM)["stored"] == 10
    daemon.stop()


def test_another_machine_is_refused_until_it_adopts(daemon_of, tmp_path):
    """The same disk, attached to a machine of another id."""
    daemon = daemon_of([stream(tmp_path)]).start()
    put(daemon, 10)
    daemon.kill()
    other = tmp_path / "machine-id"
    other.write_text("0123456789abcdef0123456789abcdef\n")
    script = 'mount --bind "$0" /etc/machine-id && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, other, hydrant.BINARY, "run", "-c", daemon.config_file],
        capture_output=True,
        text=True,
        timeout=60,
        env=daemon.environment,
    )
    assert done.returncode == CONFIGURATION, done.stderr
    assert "it was made on machine `" in done.stderr and "--adopt" in done.stderr, done.stderr
    assert "0123456789abcdef0123456789abcdef" not in done.stderr, "machine-id(5) asks that the id be kept confidential"
    daemon.start()
    daemon.stop()


def test_the_first_format_is_upgraded(daemon_of, tmp_path):
    daemon = daemon_of([stream(tmp_path)]).start()
    put(daemon, 10)
    daemon.kill()
    made = label(daemon.data_dir)
    (daemon.data_dir / "STORE").write_text(json.dumps({"format": 1, "store": made["store"]}))
    daemon.start()
    assert daemon.accounting(STREAM)["stored"] == 10
    daemon.stop()
    upgraded = label(daemon.data_dir)
    assert (upgraded["format"], upgraded["store"]) == (2, made["store"])
    assert upgraded["inode"] == (daemon.data_dir / "STORE").stat().st_ino


def test_a_store_that_cannot_be_understood_is_never_empty(daemon_of, tmp_path):
    daemon = daemon_of([stream(tmp_path)]).start()
    put(daemon, 10)
    daemon.kill()
    store = daemon.data_dir / "STORE"
    whole = store.read_bytes()
    for damaged in (b"", whole[:20], b"\0" * len(whole)):
        store.write_bytes(damaged)
        refused(daemon, CORRUPT, "STORE` cannot be understood: ", "restore STORE from a backup")
        assert store.read_bytes() == damaged
    store.unlink()
    refused(daemon, CORRUPT, "has a `catalog`, but no STORE")
    assert not store.exists()
    daemon.start("--adopt", daemon.data_dir)
    assert daemon.accounting(STREAM)["stored"] == 10
    daemon.stop()


def test_what_is_no_data_directory_is_left_alone(daemon_of, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    daemon = daemon_of([stream(tmp_path)], data_dir=foreign)
    refused(daemon, CONFIGURATION, f"`{foreign}` is not a data directory of hydrant, and it is not empty: there is `thesis.txt`")
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]
    daemon.config["data_dir"] = str(foreign / "thesis.txt")
    daemon.write_config()
    refused(daemon, CONFIGURATION, "Not a directory", "give `data_dir` a directory, not a file")


def test_a_second_daemon_is_refused(daemon_of, tmp_path):
    daemon = daemon_of([stream(tmp_path)]).start()
    second = daemon_of([stream(tmp_path)], data_dir=daemon.data_dir)
    refused(second, RUNTIME, "is in use by another hydrant")
    daemon.stop()


def test_a_file_system_without_writing(daemon_of, mount, tmp_path):
    daemon = daemon_of([stream(tmp_path)], data_dir=tmp_path / "disk" / "data")
    (tmp_path / "disk").mkdir()
    mount("-t", "tmpfs", "hydrant-test", tmp_path / "disk")
    daemon.start()
    daemon.stop()
    subprocess.run(["mount", "-o", "remount,ro", tmp_path / "disk"], check=True)
    refused(daemon, IO, "Read-only file system", "mount the file system for writing")


def test_a_user_without_rights(daemon_of, tmp_path):
    assert os.geteuid() == 0, "this test changes its user, so it is run as root"
    daemon = daemon_of([stream(tmp_path)]).start()
    daemon.stop()
    # Nobody reaches neither the directory of the tests nor the one that the binary is built in.
    place = Path(tempfile.mkdtemp(prefix="hydrant-rights."))
    try:
        place.chmod(0o755)
        binary = shutil.copy(hydrant.BINARY, place / "hydrant")
        shutil.copytree(daemon.data_dir, place / "data")
        config = {**daemon.config, "data_dir": str(place / "data")}
        del config["credentials"]
        (place / "hydrant.yaml").write_text(json.dumps(config))

        def as_nobody():
            done = subprocess.run(
                [binary, "run", "-c", place / "hydrant.yaml"], user=NOBODY, group=NOBODY, extra_groups=[],
                capture_output=True, text=True, timeout=60, cwd=place,
            )
            return done.returncode, done.stderr

        (place / "data" / "STORE").chmod(0o600)
        status, err = as_nobody()
        assert status == CONFIGURATION and f"`{place / 'data' / 'STORE'}`: Permission denied" in err, err
        assert "let the daemon's user read and write the data directory" in err, err
        (place / "data").chmod(0o700)
        status, err = as_nobody()
        assert status == CONFIGURATION and "Permission denied" in err, err
    finally:
        shutil.rmtree(place)


def test_damaged_records_are_given_up_only_by_name(daemon_of, tmp_path):
    daemon = daemon_of([stream(tmp_path)]).start()
    for _ in range(3):
        put(daemon, 10)
    daemon.stop()
    # What the stop has delivered is in the log still: a segment goes as a whole.
    segment = sorted((daemon.data_dir / "streams").glob("*/*.seg"))[-1]
    whole = segment.read_bytes()
    damaged = whole.replace(b'{"id": 5}', b'{"id": X}', 1)
    assert damaged != whole
    segment.write_bytes(damaged)
    err = refused(daemon, CORRUPT, f"segment `{segment}` is corrupt at byte ", f"start once with `--accept-loss {STREAM}`")
    assert "they will be counted as lost" in err
    assert segment.read_bytes() == damaged, "nothing was changed"
    status, _, err = hydrant.command("run", "-c", daemon.config_file, "--accept-loss", "evnets")
    assert status == CONFIGURATION and "`--accept-loss evnets`: there is no stream of that name" in err, err
    daemon.start("--accept-loss", STREAM)
    assert "records are lost: they were given up by `--accept-loss`" in daemon.log(), daemon.log_tail()
    put(daemon, 10)
    daemon.kill()
    daemon.start()
    put(daemon, 10)
    daemon.kill()

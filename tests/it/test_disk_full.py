"""A full disk: producers get 503, nothing that was acked is lost, and it goes on by itself when there is space again."""

import json
import os
import subprocess

import pytest

import clients
import hydrant
import lake

MIB = 1024 * 1024
DISK_BYTES = 400 * MIB
STREAM = "events"


@pytest.fixture
def small_disk(tmp_path):
    """An ext4 of its own, on a loop device where there are any, else a tmpfs."""
    image, mountpoint = tmp_path / "disk.img", tmp_path / "disk"
    mountpoint.mkdir()
    with open(image, "wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, stdin=subprocess.DEVNULL)
    looped = subprocess.run(["mount", "-o", "loop", image, mountpoint], capture_output=True, text=True)
    if looped.returncode != 0:
        in_memory = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "hydrant-test", mountpoint], capture_output=True, text=True
        )
        assert in_memory.returncode == 0, (
            "this test needs a small file system, and may mount neither a loop device nor a tmpfs; run it as root: "
            f"{looped.stderr.strip()}; {in_memory.stderr.strip()}"
        )
    print(subprocess.run(["findmnt", "-no", "FSTYPE,SIZE", mountpoint], capture_output=True, text=True).stdout.strip())
    yield mountpoint
    subprocess.run(["umount", "-l", mountpoint], check=True)


def fill(path):
    """Takes all space that is left."""
    with open(path, "ab", buffering=0) as ballast:
        for size in (MIB, 4096):
            block = os.urandom(size)
            while True:
                try:
                    if ballast.write(block) < size:
                        break
                except OSError:
                    break
        try:
            os.fsync(ballast.fileno())
        except OSError:
            pass


def payload(number):
    return json.dumps({"id": str(number), "number": number, "pad": os.urandom(1000).hex()}).encode()


class Producer:
    def __init__(self, daemon):
        self.signer, self.next = clients.Signer(daemon, timeout=60), 0
        self.sent, self.acked = set(), set()

    def put(self, count=100):
        """HTTP status of one batch, and whether every record of it was acked."""
        numbers = list(range(self.next, self.next + count))
        self.next += count
        self.sent |= {str(number) for number in numbers}
        acked = []
        records = [{"Data": clients.base64.b64encode(payload(number)).decode()} for number in numbers]
        status, answer = self.signer.post("PutRecordBatch", {"DeliveryStreamName": STREAM, "Records": records})
        if status == 200:
            entries = zip(numbers, answer["RequestResponses"])
            acked = [number for number, entry in entries if "RecordId" in entry]
            refused = {entry["ErrorCode"] for entry in answer["RequestResponses"] if "ErrorCode" in entry}
            assert refused <= {"ServiceUnavailableException"}, answer
        else:
            assert answer["__type"].split("#")[-1].startswith("ServiceUnavailable"), answer
        self.acked |= {str(number) for number in acked}
        return status, len(acked) == count


def test_a_full_disk_throttles_and_recovers(daemon_of, small_disk, tmp_path):
    directory = tmp_path / "lake"
    stream = {
        "name": STREAM,
        "buffering": {"size": "1 MiB", "interval": "1 s"},
        "destination": {"file": {"directory": str(directory)}},
    }
    daemon = daemon_of([stream], data_dir=small_disk / "data").start()
    producer = Producer(daemon)
    for _ in range(10):
        assert producer.put() == (200, True)
    ballast = small_disk / "ballast"

    def refuses():
        # What delivery frees meanwhile is taken again.
        fill(ballast)
        status, everything = producer.put()
        assert daemon.process.poll() is None, f"the daemon ended\n{daemon.log_tail()}"
        return status == 503 or not everything

    hydrant.wait_until("the daemon refuses records", refuses, seconds=120, interval=0)
    status, _ = producer.put()
    assert status in (200, 503)
    # Reading is not writing: the API still answers.
    assert producer.signer.post("ListDeliveryStreams", {})[0] == 200
    ballast.unlink()
    hydrant.wait_until("records are taken again", lambda: producer.put() == (200, True), seconds=120)
    for _ in range(10):
        assert producer.put() == (200, True)
    counters = daemon.wait_drained(STREAM)
    assert counters["stored"] == counters["delivered"] >= len(producer.acked)
    objects = lake.in_directory(directory)
    row_order = lambda row: ("one", row["number"])
    assert lake.judge(objects, producer.sent, producer.acked, lambda row: row["id"], row_order) == []
    daemon.stop()


def test_a_start_on_a_full_disk_recovers_what_was_acked(daemon_of, small_disk, tmp_path):
    """Killed while the disk is full, started while it is still full, and then there is space."""
    directory = tmp_path / "lake"
    stream = {
        "name": STREAM,
        "buffering": {"size": "1 MiB", "interval": "900 s"},
        "destination": {"file": {"directory": str(directory)}},
    }
    daemon = daemon_of([stream], data_dir=small_disk / "data").start()
    producer = Producer(daemon)
    for _ in range(3):
        assert producer.put() == (200, True)
    fill(small_disk / "ballast")
    daemon.kill()
    fill(small_disk / "ballast")
    daemon.spawn()
    hydrant.wait_until(
        "the daemon answers or has given up", lambda: daemon.process.poll() is not None or daemon.admin("/health")[0] == 200
    )
    if daemon.process.poll() is not None:
        assert daemon.process.returncode == 74, f"status {daemon.process.returncode}\n{daemon.log_tail()}"
        daemon.process = None
    daemon.kill()
    (small_disk / "ballast").unlink()
    daemon.config["delivery_streams"][0]["buffering"]["interval"] = "1 s"
    daemon.write_config()
    daemon.start()
    assert daemon.wait_drained(STREAM)["delivered"] >= len(producer.acked)
    row_order = lambda row: ("one", row["number"])
    problems = lake.judge(lake.in_directory(directory), producer.sent, producer.acked, lambda row: row["id"], row_order)
    assert problems == []
    daemon.stop()


def test_a_disk_that_is_full_to_the_last_byte_is_delivered_empty(daemon_of, small_disk, tmp_path):
    """Another file has all of it, and stays: the reserve is what delivery lives on, and what delivery frees is enough to go on."""
    directory, ballast, reserve = tmp_path / "lake", small_disk / "ballast", small_disk / "data" / "reserve"
    stream = {
        "name": STREAM,
        # Nothing leaves before the restart.
        "buffering": {"size": "1 GiB", "interval": "900 s"},
        "destination": {"file": {"directory": str(directory)}},
    }
    daemon = daemon_of([stream], data_dir=small_disk / "data").start()
    producer = Producer(daemon)
    for _ in range(80):
        assert producer.put(500) == (200, True)
    set_aside = lambda: reserve.exists() and reserve.stat().st_blocks * 512 >= 16 * MIB and held(daemon)
    hydrant.wait_until("the reserve is set aside", set_aside)
    daemon.kill()
    # The spool is scratch, and would be space to live on.
    for scratch in (small_disk / "data" / "delivery").glob("*/spool/*"):
        scratch.unlink()
    fill(ballast)
    free = os.statvfs(small_disk)
    assert free.f_bavail * free.f_frsize < 64 * 1024, free
    daemon.config["delivery_streams"][0]["buffering"] = {"size": "1 MiB", "interval": "1 s"}
    daemon.write_config()
    daemon.start()
    producer.signer = clients.Signer(daemon, timeout=60)
    assert "the disk is full: the reserve is given up for delivery" in daemon.log(), daemon.log_tail()
    counters = daemon.wait_drained(STREAM)
    assert counters["stored"] == counters["delivered"] == len(producer.acked)
    hydrant.wait_until("records are taken again", lambda: producer.put() == (200, True))
    hydrant.wait_until("the reserve is set aside again", set_aside)
    assert ballast.stat().st_size > 100 * MIB, "it was there all the time"
    counters = daemon.wait_drained(STREAM)
    assert counters["stored"] == counters["delivered"] == len(producer.acked)
    row_order = lambda row: ("one", row["number"])
    problems = lake.judge(lake.in_directory(directory), producer.sent, producer.acked, lambda row: row["id"], row_order)
    assert problems == []
    daemon.stop()


def held(daemon):
    """Whether the daemon says that its reserve is there."""
    return b"\nhydrant_reserve_held 1\n" in daemon.admin("/metrics")[1]

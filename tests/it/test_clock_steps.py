"""A clock that steps by hours, on and back, while the daemon runs and between a crash and the next start: a directory gets each
record once, no object is written over, and chunks are cut in time."""

import glob
import threading

import pytest

import clients
import hydrant
import lake

HOURS = ("+3h", "-3h", "+26h", "-26h")


class Clock:
    """That of one daemon, which the test sets at any moment."""

    def __init__(self, path):
        libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        assert libraries, "this test moves a clock: apt-get install faketime"
        self.path = path
        self.set("+0h")
        self.environment = {
            "LD_PRELOAD": libraries[0], "FAKETIME_TIMESTAMP_FILE": str(path), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip

    def set(self, offset):
        fresh = self.path.with_suffix(".new")
        fresh.write_text(offset)
        fresh.replace(self.path)


class Producer:
    """One record every tenth of a second, so that there always is a next one before the interval is over."""

    def __init__(self, daemon):
        self.client, self.records, self.stopping = clients.firehose(daemon), [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping.wait(0.1):
            record = f"record {len(self.records)}".encode()
            clients.put_all(self.client, "events", [record])
            self.records.append(record)

    def stop(self):
        self.stopping.set()
        self.thread.join()


def stream(directory):
    place = {"directory": str(directory), "prefix": "!{timestamp:yyyy/MM/dd/HH}/", "error_output_prefix": "errors/"}
    processing = {"append_delimiter": True}
    return {"name": "events", "buffering": {"interval": "1 s"}, "processing": processing, "destination": {"file": place}}


def kept(directory):
    """What each object holds, by its name; those that are looked at twice must not have changed. Unfinished ones are hidden."""
    paths = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(directory)): tuple(path.read_bytes().splitlines()) for path in paths}


def judge(directory, before, records):
    """When all is delivered, by the reader that takes nothing unfinished."""
    assert before.items() <= kept(directory).items(), "an object was written over, or is gone"
    lake.same_multiset([line for found in lake.in_directory(directory) for line in found.lines()], records)


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path / "clock")


def daemon_with(clock, daemon_of, directory):
    daemon = daemon_of([stream(directory)], environment=clock.environment)
    # A signature is good for minutes, and this clock is hours away.
    daemon.config.pop("credentials")
    daemon.write_config()
    return daemon


def test_while_it_runs(daemon_of, clock, tmp_path):
    directory = tmp_path / "lake"
    daemon = daemon_with(clock, daemon_of, directory).start()
    producer, before = Producer(daemon), {}
    for offset in HOURS:
        clock.set(offset)
        put, objects = len(producer.records), len(kept(directory))
        hydrant.wait_until("records come", lambda: len(producer.records) > put + 20)
        hydrant.wait_until(f"chunks are cut after {offset}", lambda: len(kept(directory)) > objects + 1, seconds=20)
        now = kept(directory)
        assert before.items() <= now.items(), "an object was written over, or is gone"
        before = now
    producer.stop()
    daemon.wait_drained("events")
    judge(directory, before, producer.records)


def test_between_a_crash_and_the_next_start(daemon_of, clock, tmp_path):
    directory = tmp_path / "lake"
    daemon = daemon_with(clock, daemon_of, directory)
    before, records = {}, []
    for offset in HOURS:
        daemon.start()
        producer, objects = Producer(daemon), len(kept(directory))
        hydrant.wait_until("there are objects", lambda: len(kept(directory)) > objects + 1)
        producer.stop()
        daemon.kill_alive()
        # The same numbers again and again: the same bytes, which may not share a name.
        records += producer.records
        now = kept(directory)
        assert before.items() <= now.items()
        before = now
        clock.set(offset)
    daemon.start()
    daemon.wait_drained("events")
    judge(directory, before, records)

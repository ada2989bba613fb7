"""What cannot run is refused at the start, with its reason on stderr and its own exit code."""

import hashlib
import re

import pytest

import clients
import hydrant
import weblog

USAGE, CORRUPT, CONFIGURATION = 2, 65, 78


def written(tmp_path, text):
    path = tmp_path / "hydrant.yaml"
    path.write_text(text)
    return path


TWO_PROBLEMS = """\
data_dir: ./data
delivery_streams:
  - name: access logs
    buffering: { size: 5 GiB }
    destination:
      file: { directory: ./lake }
"""


@pytest.mark.parametrize("verb", [("check", "--offline"), ("check",), ("run",)], ids=" ".join)
def test_all_problems_of_a_file_at_once(tmp_path, verb):
    path = written(tmp_path, TWO_PROBLEMS)
    status, out, err = hydrant.command(verb[0], "-c", path, *verb[1:])
    assert status == CONFIGURATION, err
    assert re.search(r"hydrant\.yaml:3:\d+: delivery_streams\[0\]\.name", err), err
    assert re.search(r"hydrant\.yaml:4:\d+: delivery_streams\[0\]\.buffering\.size: .*5 GiB", err), err
    assert "2 problems" in err and out == "", (out, err)
    assert not (tmp_path / "data").exists(), "nothing was started, so nothing was made"


def test_an_unknown_key_names_the_nearest(tmp_path):
    path = written(tmp_path, TWO_PROBLEMS.replace("access logs", "access-logs").replace("size: 5 GiB", "intervall: 5 s"))
    status, _, err = hydrant.command("check", "--offline", "-c", path)
    assert status == CONFIGURATION and "intervall" in err and "`interval`" in err, err


def test_not_yaml(tmp_path):
    status, _, err = hydrant.command("check", "--offline", "-c", written(tmp_path, "delivery_streams: [\n"))
    assert status == CONFIGURATION and "hydrant.yaml:" in err, err


def test_no_such_file(tmp_path):
    status, _, err = hydrant.command("run", "-c", tmp_path / "absent.yaml")
    assert status in (USAGE, CONFIGURATION) and "absent.yaml" in err, (status, err)


def test_a_good_file_passes(tmp_path):
    path = written(tmp_path, TWO_PROBLEMS.replace("access logs", "access-logs").replace("5 GiB", "5 MiB"))
    status, _, err = hydrant.command("check", "-c", path)
    assert status == 0, err


def test_what_init_writes_passes(tmp_path):
    status, out, err = hydrant.command("init", cwd=tmp_path)
    assert status == 0, err
    made = tmp_path / "hydrant.yaml"
    path = made if made.exists() else written(tmp_path, out)
    status, _, err = hydrant.command("check", "--offline", "-c", path, cwd=tmp_path)
    assert status == 0, err


def with_plugin(plugin):
    return TWO_PROBLEMS.replace("access logs", "access-logs").replace(
        "buffering: { size: 5 GiB }", f"processing: {{ plugins: [{{ {plugin} }}] }}"
    )


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize("kind", ["missing", "not-wasm", "wrong-sha"])
def test_a_plugin_that_cannot_run(tmp_path, verb, kind):
    (tmp_path / "text.wasm").write_text("this is not WebAssembly")
    other = hashlib.sha256(b"other").hexdigest()
    plugin = {
        "missing": "path: absent.wasm",
        "not-wasm": "path: text.wasm",
        "wrong-sha": f"path: {weblog.PLUGIN}, sha256: {other}",
    }[kind]
    status, _, err = hydrant.command(verb, "-c", written(tmp_path, with_plugin(plugin)))
    assert status == CONFIGURATION, err
    named = {"missing": "absent.wasm", "not-wasm": "text.wasm", "wrong-sha": other[:8]}[kind]
    assert named in err, err


def test_a_rotten_segment_is_refused_with_its_range(daemon_of, tmp_path):
    """A byte is turned in the middle of what had been synced: rot, not a torn tail."""
    stream = {"name": "events", "buffering": {"interval": "900 s"},
              "destination": {"file": {"directory": str(tmp_path / "lake")}}}  # fmt: skip
    daemon = daemon_of([stream]).start()
    client = clients.firehose(daemon)
    marks = [f"record {number:05} " + "x" * 500 for number in range(2000)]
    clients.put_all(client, "events", [mark.encode() for mark in marks], batch=100)
    daemon.kill()
    [segment] = [path for path in daemon.data_dir.glob("streams/*/*") if path.is_file() and b"record 00500 " in path.read_bytes()]
    content = bytearray(segment.read_bytes())
    content[content.index(b"record 00500 ") + 20] ^= 0x01
    segment.write_bytes(content)
    daemon.spawn()
    status = daemon.process.wait(60)
    daemon.process = None
    assert status == CORRUPT, daemon.log_tail()
    said = daemon.log().lower()
    assert "lsn" in said and segment.name in daemon.log(), daemon.log_tail()
    # Frames hold 100 records here, and the turned byte is in the sixth.
    ranges = [(int(a), int(b)) for a, b in re.findall(r"lsns?\D{0,20}?(\d+)\D{1,12}(\d+)", said)]
    assert any(first <= 501 <= last for first, last in ranges), daemon.log_tail()
    # It is not healed by trying again, and nothing was delivered from it.
    daemon.spawn()
    status = daemon.process.wait(60)
    daemon.process = None
    assert status == CORRUPT
    assert not [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]


def test_a_second_daemon_on_the_same_data_is_refused(daemon_of, tmp_path):
    stream = {"name": "events", "destination": {"file": {"directory": str(tmp_path / "lake")}}}
    first = daemon_of([stream], data_dir=tmp_path / "data").start()
    second = daemon_of([stream], data_dir=tmp_path / "data").spawn()
    status = second.process.wait(60)
    second.process = None
    assert status not in (0, None) and str(tmp_path / "data") in second.log(), second.log_tail()
    assert first.is_ready()
    first.stop()

"""`hydrant demo` is what a newcomer sees first: it works twice in one directory, its sum holds, and its hints are true."""

import os
import re
import shlex
import subprocess
import time
from pathlib import Path

import duckdb

import hydrant
import weblog

NUMBER = r"([\d,]+)"


def processes():
    """Ids of running hydrant daemons, whoever started them."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                executable = os.readlink(entry / "exe")
            except OSError:
                continue
            if executable.removesuffix(" (deleted)") == str(hydrant.BINARY.resolve()):
                found.add(entry.name)
    return found


def demo(directory):
    began, before = time.monotonic(), processes()
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        [hydrant.BINARY, "demo", "--dir", directory],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=environment,
    )  # fmt: skip
    took = time.monotonic() - began
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert processes() <= before, "the demo left a process behind"
    assert took < 30, f"the demo took {took:.1f} s"
    assert "\x1b[" not in done.stdout, "colours although NO_COLOR is set"
    print(f"demo: {took:.1f} s")
    return done.stdout


SUM = re.compile(rf"accepted {NUMBER} = delivered {NUMBER} \+ dropped by the plugin {NUMBER} \+ failed {NUMBER}")


def counted(out):
    """(accepted, delivered, dropped, failed) as printed."""
    found = SUM.search(out)
    assert found, f"no sum in\n{out}"
    return [int(number.replace(",", "")) for number in found.groups()]


def sql(out):
    """The statement that the demo tells to try; given to DuckDB as it stands."""
    for line in out.splitlines():
        if "read_parquet(" in line:
            if line.strip().startswith("duckdb"):
                return shlex.split(line.strip())[-1]
            return line[line.lower().index("select") :].strip().rstrip(";`\"")
    raise AssertionError(f"no SQL with read_parquet( in\n{out}")


def test_the_demo_twice_in_one_directory(tmp_path, monkeypatch):
    directory = tmp_path / "demo"
    for run in (1, 2):
        out = demo(directory)
        print(out)
        counts = counted(out)
        rows, dropped, failed = map(len, weblog.sorted_out(weblog.lines()))
        assert counts == [len(weblog.lines()), rows, dropped, failed]
        monkeypatch.chdir(tmp_path)
        assert duckdb.sql(sql(out)).fetchall(), "the SQL of the demo finds nothing"
        files = [str(path) for path in directory.rglob("*.parquet")]
        [(delivered,)] = duckdb.sql(f"select count(*) from read_parquet({files})").fetchall()
        # The second run adds to the first.
        assert delivered == run * rows

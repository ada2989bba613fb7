"""`hydrant demo` is what a newcomer sees first: it works twice in one directory, its sum holds, and its hints are true."""

import os
import re
import shlex
import subprocess
import time
from pathlib import Path

import duckdb

import hydrant

NUMBER = r"([\d,_]+)"


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


def number(text):
    return int(text.replace(",", "").replace("_", ""))


def counted(out, word):
    found = re.search(rf"{NUMBER}\s+{word}|{word}\w*\s*[:=|│]?\s*{NUMBER}", out)
    assert found, f"no number for `{word}` in\n{out}"
    return number(found.group(1) or found.group(2))


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
    rows = []
    for _ in range(2):
        out = demo(directory)
        print(out)
        stored, delivered = counted(out, "stored"), counted(out, "delivered")
        parts = delivered + counted(out, "dropped") + counted(out, "failed")
        assert stored == parts > 0, f"{stored} is not {parts}\n{out}"
        monkeypatch.chdir(tmp_path)
        assert duckdb.sql(sql(out)).fetchall(), "the SQL of the demo finds nothing"
        files = [str(path) for path in directory.rglob("*.parquet")]
        rows.append(duckdb.sql(f"select count(*) from read_parquet({files})").fetchone()[0])
        assert rows[-1] >= delivered
    assert rows[1] >= rows[0]

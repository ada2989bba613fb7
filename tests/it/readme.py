"""Runs what README.md tells a newcomer to type: each ```sh block after a line `<!-- run -->`, in order, in one copy.

Usage: readme.py README.md
The copy holds the tracked files; the build goes to the usual target directory, so that nothing is compiled twice.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

BLOCK = re.compile(r"<!-- run -->\s*\n```(?:sh|bash|console)\n(.*?)```", re.DOTALL)


def blocks(text):
    """Commands without prompts; lines of a console block that are no commands are output."""
    found = []
    for body in BLOCK.findall(text):
        lines = body.splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        found.append("\n".join(lines))
    return found


def copy(top, to):
    names = subprocess.run(
        ["git", "-C", top, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True
    )
    if names.returncode != 0:
        subprocess.run(["cp", "-a", f"{top}/.", to], check=True)
        return
    archive = subprocess.run(
        ["tar", "-C", top, "--null", "--ignore-failed-read", "-T", "-", "-cf", "-"],
        input=names.stdout, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    subprocess.run(["tar", "-C", to, "-xf", "-"], input=archive.stdout, check=True)


def main(readme):
    top = Path(readme).resolve().parent
    commands = blocks(Path(readme).read_text())
    if not commands:
        sys.exit(f"{readme} has no ```sh block after a line `<!-- run -->`; a newcomer's first commands must be tested")
    with tempfile.TemporaryDirectory(prefix="hydrant-readme.") as sandbox:
        copy(top, sandbox)
        for number, command in enumerate(commands, 1):
            print(f"-- block {number} of {len(commands)}\n{command}", flush=True)
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command], cwd=sandbox, stdin=subprocess.DEVNULL, timeout=1800, env=os.environ
            )
            if done.returncode != 0:
                sys.exit(f"block {number} ended with status {done.returncode}")
    print(f"{len(commands)} blocks ran")


if __name__ == "__main__":
    main(sys.argv[1])

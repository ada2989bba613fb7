"""An ext4 on a disk that can lose its power, refuse requests or lose sectors, while a real kernel uses it.

As a program it says whether this machine lets the tests make one: exit 0, or 77 with the reason.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

MIB = 1024 * 1024
BLOCK = 4096
CAP_SYS_ADMIN = 21
NOT_HERE = 77


def unavailable():
    """Why no disk can be made here, or None. Nothing else may keep these tests from running: what fails later is a failure."""
    with open("/proc/self/status") as status:
        capabilities = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    if os.geteuid() != 0 or not capabilities >> CAP_SYS_ADMIN & 1:
        return "mounting needs root"
    for node in ("/dev/fuse", "/dev/loop-control"):
        try:
            os.close(os.open(node, os.O_RDWR))
        except OSError as problem:
            return f"cannot open {node}: {problem.strerror}"
    return None


def run(*arguments):
    done = subprocess.run([str(each) for each in arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


class Disk:
    """`mountpoint` is the file system. Made with `with`; nothing is left of it behind the block, whatever happens within."""

    def __init__(self, directory, size=384 * MIB, image=None):
        """On a new image, or on one that `copy` has made."""
        self.directory, self.size = Path(directory), size
        self.image = Path(image or self.directory / "image")
        self.served, self.mountpoint = self.directory / "served", self.directory / "disk"
        self.server = self.loop = None

    def __enter__(self):
        self.mountpoint.mkdir(parents=True)
        self.served.touch()
        if not self.image.exists():
            with open(self.image, "xb") as image:
                image.truncate(self.size)
            run("mkfs.ext4", "-q", "-b", str(BLOCK), "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", self.image)
        program = Path(__file__).with_name("block_device.py")
        self.server = subprocess.Popen(
            [sys.executable, program, self.image, self.served], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert self._answer() == {"serves": True}
            self.loop = run("losetup", "--find", "--show", self.served).strip()
            self.mount()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # It unmounts, whoever still uses it; see there.
        self.server.stdin.close()
        try:
            assert self.server.wait(60) == 0, "the disk was not put away; see `losetup --list` and `findmnt`"
        finally:
            self.server.kill()

    def _answer(self):
        line = self.server.stdout.readline()
        assert line, f"the disk ended with {self.server.wait()}"
        return json.loads(line)

    def _tell(self, what, **details):
        self.server.stdin.write(json.dumps({"do": what, **details}) + "\n")
        self.server.stdin.flush()
        return self._answer()

    def mount(self):
        run("mount", "-t", "ext4", self.loop, self.mountpoint)

    def unmount(self):
        run("umount", self.mountpoint)
        # What the kernel remembers of the device must not hide what the device holds.
        run("blockdev", "--flushbufs", self.loop)

    def freeze(self, writes=0):
        """After `writes` more, or when there are none, no request is answered, so nothing more becomes durable."""
        self._tell("freeze", writes=writes)

    def cut_power(self, seed, keep):
        """Each write since the last flush survives with probability `keep`, some torn; the disk is dead until `revive`."""
        return self._tell("cut", seed=seed, keep=keep)

    def copy(self, to, seed, keep):
        """What `cut_power` would leave, in the file `to`; this disk is as before."""
        return self._tell("copy", to=str(to), seed=seed, keep=keep)

    def refuse(self, kind, ranges=None):
        """EIO for each "read", "write" or "flush" that touches one of `ranges` (start and end in bytes), or for all."""
        self._tell("refuse", kind=kind, ranges=ranges)

    def lie(self):
        """Flushes succeed and make nothing durable."""
        self._tell("lie")

    def heal(self):
        self._tell("heal")

    def zero(self, ranges):
        """Sectors lost while nobody has the file system mounted; returns what `restore` puts back."""
        saved = []
        with open(self.image, "r+b", buffering=0) as image:
            for start, end in ranges:
                saved.append((start, os.pread(image.fileno(), end - start, start)))
                os.pwrite(image.fileno(), bytes(end - start), start)
        return saved

    def restore(self, saved):
        with open(self.image, "r+b", buffering=0) as image:
            for start, data in saved:
                os.pwrite(image.fileno(), data, start)

    def counts(self):
        return self._tell("counts")

    def revive(self):
        """Power again: the file system is mounted anew, its journal is replayed."""
        self.unmount()
        self.heal()
        self.mount()

    def check(self):
        """ext4 itself must have survived, or the disk is not one."""
        self.unmount()
        run("e2fsck", "-f", "-n", self.loop)
        self.mount()

    def places(self, path, start=0, end=None):
        """Where the bytes `start..end` of a file lie on the disk, as ranges in bytes."""
        end = path.stat().st_size if end is None else end
        found = []
        listing = run("filefrag", "-e", f"-b{BLOCK}", path)
        for extent in re.findall(r"^ *\d+: *(\d+)\.\. *(\d+): *(\d+)\.\.", listing, re.MULTILINE):
            first, last, place = (int(block) * BLOCK for block in extent)
            low, high = max(start, first), min(end, last + BLOCK)
            if low < high:
                found.append((place + low - first, place + high - first))
        assert sum(high - low for low, high in found) == end - start, f"holes in {path}: {listing}"
        return found


if __name__ == "__main__":
    reason = unavailable()
    if reason:
        print(reason)
        sys.exit(NOT_HERE)

"""A disk with a volatile write cache, under a real kernel: one file, served by FUSE, that a loop device takes for its medium.

Every request of the block layer passes here one after another, so there is an exact moment between any two of them. A write
is in the cache until the next flush is answered: power loss keeps any part of the cache, in any order, torn at sectors.
A read, a write or a flush may be refused, which the kernel sees as EIO of the device.

It is a program of its own, so that a test that waits for its disk does not wait for itself:

    block_device.py IMAGE MOUNTED-FILE

Commands are lines of JSON on stdin, each is answered by one line; at the end of stdin it unmounts everything and leaves.
"""

import ctypes
import enum
import errno
import json
import os
import random
import select
import stat
import struct
import subprocess
import sys

SECTOR = 512
WRITE_MAX = 1 << 20
QUIET = 0.2
HEADER = struct.Struct("<IIQQIIIHH")
MS_NOSUID, MS_NODEV = 2, 4
PR_SET_IO_FLUSHER = 57

BIG_WRITES, MAX_PAGES = 1 << 5, 1 << 22
OPEN_DIRECT_IO = 1


class Operation(enum.IntEnum):
    """Of the FUSE protocol, include/uapi/linux/fuse.h."""

    FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 2, 3, 4, 14, 15, 16, 17, 18, 20
    FLUSH, INIT, INTERRUPT, DESTROY, BATCH_FORGET = 25, 26, 36, 38, 42


class Refused(Exception):
    """The errno that a request is answered with."""


class Medium:
    """The image, what of it is only in the cache, and which requests fail."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDWR)
        self.size = os.fstat(self.file).st_size
        # (offset, what was there before, what was written), oldest first. The image itself is always the newest state.
        self.cache = []
        self.refused = {}  # "read", "write", "flush" -> ranges of bytes, or None for all of the disk
        self.off = False
        self.lies = False
        self.counts = {"read": 0, "write": 0, "flush": 0, "refused": 0}

    def check(self, kind, offset, length):
        self.counts[kind] += 1
        ranges = self.refused.get(kind, [])
        if self.off or ranges is None or any(start < offset + length and offset < end for start, end in ranges):
            self.counts["refused"] += 1
            raise Refused(errno.EIO)

    def read(self, offset, length):
        self.check("read", offset, length)
        return os.pread(self.file, length, offset)

    def write(self, offset, data):
        self.check("write", offset, len(data))
        self.cache.append((offset, os.pread(self.file, len(data), offset), bytes(data)))
        write_all(self.file, data, offset)

    def flush(self):
        self.check("flush", 0, self.size)
        if not self.lies:
            self.cache.clear()

    def lose_power(self, target, rng, keep):
        """Makes `target`, which has the bytes of the image, what the medium may hold when the power goes now."""
        for offset, before, _ in reversed(self.cache):
            write_all(target, before, offset)
        kept = 0
        for offset, _, written in self.cache:
            if rng.random() >= keep:
                continue
            kept += 1
            torn = keep < 1 and rng.random() < 0.5
            for start in range(0, len(written), SECTOR if torn else len(written)):
                end = start + SECTOR if torn else len(written)
                if not torn or rng.random() < 0.5:
                    write_all(target, written[start:end], offset + start)
        return {"in_cache": len(self.cache), "kept": kept}


def write_all(file, data, offset):
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


class Server:
    """Answers the kernel, and the test in between."""

    def __init__(self, image, mounted):
        self.medium, self.mounted = Medium(image), mounted
        self.frozen = False
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        libc = ctypes.CDLL(None, use_errno=True)
        # The kernel does not wait, inside this process, for memory that only this process can free.
        libc.prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0)
        options = f"fd={self.fuse},rootmode={stat.S_IFREG | 0o600:o},user_id=0,group_id=0"
        if libc.mount(b"hydrant-test", mounted.encode(), b"fuse", MS_NOSUID | MS_NODEV, options.encode()) != 0:
            problem = ctypes.get_errno()
            raise OSError(problem, f"mount of a FUSE file: {os.strerror(problem)}")

    def run(self):
        print(json.dumps({"serves": True}), flush=True)
        while self.turn([sys.stdin.fileno()]):
            pass
        # Nobody is left to ask: nothing below may hang, and the unmounting needs its answers from here.
        self.medium.off, self.frozen = True, False
        script = """
            for loop in $(losetup --noheadings --output NAME --associated "$1"); do
                ! findmnt --source "$loop" >/dev/null || umount --lazy --all-targets "$loop"
                losetup --detach "$loop"
            done
            umount --lazy "$1"
        """
        # The pipe ends with the script.
        read_end, write_end = os.pipe()
        last = subprocess.Popen(["sh", "-c", script, "sh", self.mounted], stdout=write_end, stdin=subprocess.DEVNULL)
        os.close(write_end)
        while self.turn([read_end]):
            pass
        sys.exit(last.wait())

    def turn(self, others):
        """Serves what is ready; false once one of `others` is at its end."""
        waited_for = others if self.frozen else [self.fuse, *others]
        ready, _, _ = select.select(waited_for, [], [])
        for file in ready:
            if not (self.serve() if file == self.fuse else self.command(file)):
                return False
        return True

    def command(self, file):
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = os.read(file, 1)
            if not byte:
                return False
            line += byte
        print(json.dumps(self.obey(json.loads(line))), flush=True)
        return True

    def obey(self, command):
        medium = self.medium
        match command["do"]:
            case "freeze":  # Requests wait and nothing changes, once so many writes more were taken or none comes.
                last = medium.counts["write"] + command["writes"]
                while medium.counts["write"] < last and select.select([self.fuse], [], [], QUIET)[0]:
                    self.serve()
                self.frozen = True
            case "heal":  # The disk is as it was when it was bought, but for what it holds.
                self.frozen = medium.off = medium.lies = False
                medium.refused = {}
            case "cut":  # The power is gone: the medium is what it lost, and every request fails.
                lost = medium.lose_power(medium.file, random.Random(command["seed"]), command["keep"])
                medium.cache.clear()
                self.frozen, medium.off = False, True
                return lost
            case "copy":  # What a power loss now would leave, in a new file, while the disk lives on.
                subprocess.run(["cp", "--sparse=always", f"/proc/{os.getpid()}/fd/{medium.file}", command["to"]], check=True)
                target = os.open(command["to"], os.O_RDWR)
                try:
                    return medium.lose_power(target, random.Random(command["seed"]), command["keep"])
                finally:
                    os.close(target)
            case "refuse":
                medium.refused[command["kind"]] = command["ranges"]
            case "lie":  # Flushes are answered and not done.
                medium.lies = True
            case "counts":
                return medium.counts
        return {}

    def serve(self):
        """One request; false once the kernel has none any more, because the file is unmounted."""
        try:
            request = os.read(self.fuse, WRITE_MAX + (1 << 16))
        except OSError as problem:
            if problem.errno == errno.ENODEV:
                return False
            if problem.errno == errno.ENOENT:  # Taken back before it was read.
                return True
            raise
        _, operation, unique, *_ = HEADER.unpack_from(request)
        if operation in (Operation.FORGET, Operation.BATCH_FORGET, Operation.INTERRUPT):
            return True
        try:
            status, answer = 0, self.answer(operation, memoryview(request)[HEADER.size :])
        except Refused as refused:
            status, answer = -refused.args[0], b""
        except OSError as problem:
            status, answer = -problem.errno, b""
        try:
            os.write(self.fuse, struct.pack("<IiQ", 16 + len(answer), status, unique) + answer)
        except OSError as problem:
            if problem.errno != errno.ENOENT:  # The kernel no longer waits for it.
                raise
        return True

    def answer(self, operation, body):
        match operation:
            case Operation.READ:
                _, offset, length = struct.unpack_from("<QQI", body)
                return self.medium.read(offset, length)
            case Operation.WRITE:
                _, offset, length = struct.unpack_from("<QQI", body)
                self.medium.write(offset, body[40 : 40 + length])
                return struct.pack("<II", length, 0)
            case Operation.FSYNC:
                self.medium.flush()
                return b""
            case Operation.INIT:
                readahead = struct.unpack_from("<III", body)[2]
                return struct.pack(
                    "<IIIIHHIIHH", 7, 31, readahead, BIG_WRITES | MAX_PAGES, 16, 12, WRITE_MAX, 1, WRITE_MAX // 4096, 0
                ).ljust(64, b"\0")
            case Operation.GETATTR | Operation.SETATTR:
                size, mode = self.medium.size, stat.S_IFREG | 0o600
                attributes = struct.pack("<6Q10I", 1, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
                return struct.pack("<QII", 3600, 0, 0) + attributes
            case Operation.OPEN:
                # Past the page cache: two caches would not tell what the device was given.
                return struct.pack("<QII", 0, OPEN_DIRECT_IO, 0)
            case Operation.STATFS:
                return struct.pack("<5Q4I24x", 0, 0, 0, 1, 0, 4096, 255, 4096, 0)
            case Operation.RELEASE | Operation.FLUSH | Operation.DESTROY:
                return b""
        raise Refused(errno.ENOSYS)


if __name__ == "__main__":
    Server(*sys.argv[1:]).run()

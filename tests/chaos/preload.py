"""A machine whose clock jumps and whose disk is slow: what a service asks its libc is changed.

Only in the service's own process: kernels and the database server start with an empty environment.
"""

import mmap
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t zeros[2];
static const volatile int64_t *told = zeros;  /* seconds added, microseconds of each fsync */

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MACHINE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *there = mmap(0, 16, PROT_READ, MAP_SHARED, file, 0);
    if (there != MAP_FAILED) told = there;
    close(file);
}

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, now);
    if (!result && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += told[0];
    return result;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

static int synced(const char *name, int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    if (told[1]) usleep(told[1]);
    return real(file);
}
int fsync(int file) { return synced("fsync", file); }
int fdatasync(int file) { return synced("fdatasync", file); }
"""


class Machine:
    """What a service believes of its machine; changed while it runs.

    Attributes:
        environment: what its process has to be started with.
    """

    def __init__(self, library: Path, told: mmap.mmap, path: Path) -> None:
        """Use :func:`pretended_machine`."""
        self._told = told
        self.environment = {"LD_PRELOAD": str(library), "MACHINE": str(path)}

    def jump(self, seconds: int) -> None:
        """Have the wall clock be so much ahead of the real one."""
        self._told[:8] = struct.pack("q", seconds)

    def slow_down(self, seconds: float) -> None:
        """Have each fsync take so much longer."""
        self._told[8:] = struct.pack("q", round(seconds * 1e6))


@contextmanager
def pretended_machine(directory: Path) -> Iterator[Machine]:
    """Build it in a directory, with the C compiler ``cc``."""
    source, library, path = (directory / name for name in ("m.c", "m.so", "told"))
    source.write_text(_SOURCE)
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(bytes(16))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 16) as told:
        yield Machine(library, told, path)

"""A machine whose clock jumps and whose disk is slow: what a service asks its libc is changed.

In the service's own process and in the database server's: kernels start with an empty environment.
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
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t zeros[2];
static const volatile int64_t *told = zeros;  /* seconds added, microseconds of each fsync */
static char inherited[2][4096];

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MACHINE"), *library = getenv("LD_PRELOAD");
    if (path && library) {
        snprintf(inherited[0], sizeof inherited[0], "MACHINE=%s", path);
        snprintf(inherited[1], sizeof inherited[1], "LD_PRELOAD=%s", library);
    }
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

/* Whatever else changes a disk takes a fifth of that. */
static void change(void) { if (told[1]) usleep(told[1] / 5); }
static int on_disk(int file) {
    struct stat status;
    return file > 2 && told[1] && !fstat(file, &status) && S_ISREG(status.st_mode);
}

#define OPENED(name, given, ...) \
    int name(given const char *path, int flags, ...) { \
        int (*real)(given const char *, int, ...) = dlsym(RTLD_NEXT, #name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        if (flags & O_CREAT) change(); \
        return real(__VA_ARGS__ path, flags, mode); \
    }
#define IN int directory,
OPENED(open, , )
OPENED(open64, , )
OPENED(openat, IN, directory,)
OPENED(openat64, IN, directory,)

ssize_t write(int file, const void *from, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (on_disk(file)) change();
    return real(file, from, size);
}
#define WRITTEN_AT(name, offset_t) \
    ssize_t name(int file, const void *from, size_t size, offset_t at) { \
        static ssize_t (*real)(int, const void *, size_t, offset_t); \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        if (on_disk(file)) change(); \
        return real(file, from, size, at); \
    }
WRITTEN_AT(pwrite, off_t)
WRITTEN_AT(pwrite64, off64_t)

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    change();
    return real(from, to);
}
int renameat(int here, const char *from, int there, const char *to) {
    int (*real)(int, const char *, int, const char *) = dlsym(RTLD_NEXT, "renameat");
    change();
    return real(here, from, there, to);
}

int execve(const char *path, char *const argv[], char *const environment[]) {
    static int (*real)(const char *, char *const[], char *const[]);
    if (!real) real = dlsym(RTLD_NEXT, "execve");
    int database = 0, count = 0;
    for (char *const *word = argv; *word; word++) database |= !!strstr(*word, "secantusd");
    while (environment && environment[count]) count++;
    if (!database || count > 60) return real(path, argv, environment);
    char *with[64] = {inherited[0], inherited[1]};
    for (int i = 0; i < count; i++) with[i + 2] = environment[i];
    return real(path, argv, with);
}
"""


class Machine:
    """What a service believes of its machine; changed while it runs.

    Attributes:
        library: what is loaded into processes.
        environment: what its process has to be started with.
    """

    def __init__(self, library: Path, told: mmap.mmap, path: Path) -> None:
        """Use :func:`pretended_machine`."""
        self._told = told
        self.library = str(library)
        self.environment = {"LD_PRELOAD": self.library, "MACHINE": str(path)}

    def jump(self, seconds: int) -> None:
        """Have the wall clock be so much ahead of the real one."""
        self._told[:8] = struct.pack("q", seconds)

    def slow_down(self, seconds: float) -> None:
        """Have each fsync take so much longer, and what else changes a disk a fifth of that."""
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

"""Pieces of hostile code that several attacks begin with; they run in kernels, not here."""

# ruff: noqa: E501 - lines of hostile code are left whole

#: ``call("unshare", flags)``: a system call by its number; returns the name of the error, or "done".
CALL = r"""
import ctypes, errno, os, platform
_libc = ctypes.CDLL(None, use_errno=True)
_X86 = dict(socket=41, clone=56, fork=57, ptrace=101, syslog=103, personality=135, pivot_root=155,
    prctl=157, adjtimex=159, chroot=161, acct=163, settimeofday=164, mount=165, umount2=166, swapon=167,
    swapoff=168, reboot=169, sethostname=170, setdomainname=171, iopl=172, ioperm=173, init_module=175,
    delete_module=176, quotactl=179, lookup_dcookie=212, clock_settime=227, mbind=237, kexec_load=246,
    add_key=248, request_key=249, keyctl=250, migrate_pages=256, unshare=272, move_pages=279,
    perf_event_open=298, fanotify_init=300, name_to_handle_at=303, open_by_handle_at=304,
    clock_adjtime=305, setns=308, process_vm_readv=310, process_vm_writev=311, kcmp=312,
    finit_module=313, seccomp=317, kexec_file_load=320, bpf=321, userfaultfd=323, vhangup=153)
_ARM = dict(socket=198, clone=220, ptrace=117, syslog=116, personality=92, pivot_root=41, prctl=167,
    adjtimex=171, chroot=51, acct=89, settimeofday=170, mount=40, umount2=39, swapon=224, swapoff=225,
    reboot=142, sethostname=161, setdomainname=162, init_module=105, delete_module=106, quotactl=60,
    lookup_dcookie=18, clock_settime=112, mbind=235, kexec_load=104, add_key=217, request_key=218,
    keyctl=219, migrate_pages=238, unshare=97, move_pages=239, perf_event_open=241, fanotify_init=262,
    name_to_handle_at=264, open_by_handle_at=265, clock_adjtime=266, setns=268, process_vm_readv=270,
    process_vm_writev=271, kcmp=272, finit_module=273, seccomp=277, kexec_file_load=294, bpf=280,
    userfaultfd=282, vhangup=58)
_BOTH = dict(io_uring_setup=425, open_tree=428, move_mount=429, fsopen=430, fsconfig=431, fsmount=432,
    fspick=433, pidfd_open=434, clone3=435, pidfd_getfd=438, process_madvise=440, mount_setattr=442,
    quotactl_fd=443, memfd_secret=447, process_mrelease=448, map_shadow_stack=453, listmount=458,
    statmount=457, open_tree_attr=467, pidfd_send_signal=424)
NUMBERS = {**(_X86 if platform.machine() == "x86_64" else _ARM), **_BOTH}

def raw(number, *arguments):
    ctypes.set_errno(0)
    words = [a if isinstance(a, (bytes, ctypes.Array, type(None))) else ctypes.c_long(a)
             for a in arguments]
    return _libc.syscall(ctypes.c_long(number), *words)

def outcome(result):
    if result >= 0:
        return "done"
    return errno.errorcode.get(ctypes.get_errno(), "?")

def call(name, *arguments):
    number = NUMBERS.get(name)
    return "ENOSYS" if number is None else outcome(raw(number, *arguments))
"""

#: ``in_child(f)``: what ``f()`` returns or raises in a forked process, or the signal that ended it.
IN_CHILD = r"""
import os
def in_child(work):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                said = str(work())
            except BaseException as error:
                said = type(error).__name__ + " " + str(getattr(error, "errno", error))
            os.write(writing, said.encode())
        finally:
            os._exit(0)
    os.close(writing)
    said = b""
    while piece := os.read(reading, 4096):
        said += piece
    os.close(reading)
    status = os.waitpid(pid, 0)[1]
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else said.decode()
"""

#: ``attempt(f)``: "done" or the name of the error that ``f()`` met.
ATTEMPT = r"""
import errno, os
def attempt(work, *arguments, **options):
    try:
        work(*arguments, **options)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error)) if error.errno else str(error)
    except Exception as error:
        return type(error).__name__
    return "done"
"""

#: ``tamper(path)``: all ways to change a file, checked by their effect; names those that had one.
#: Opens for writing without writing, so that a sandbox that fails the test harms nothing.
TAMPER = r'''
import errno, mmap, os
def _state(path):
    status = os.lstat(path)
    return status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino, status.st_uid

def tamper(path, destroy=False):
    before = _state(path)
    had = []
    def opened(name, flags):
        try:
            descriptor = os.open(path, flags)
        except OSError:
            return
        os.close(descriptor)
        had.append(name)
    opened("open to write", os.O_WRONLY)
    opened("open to read and write", os.O_RDWR)
    opened("open to append", os.O_WRONLY | os.O_APPEND)
    def through_proc():
        reading = os.open(path, os.O_RDONLY)
        try:
            os.close(os.open(f"/proc/self/fd/{reading}", os.O_RDWR))
        finally:
            os.close(reading)
        had.append("open again through /proc/self/fd")
    def mapped():
        reading = os.open(path, os.O_RDONLY)
        try:
            mmap.mmap(reading, os.fstat(reading).st_size, mmap.MAP_SHARED,
                      mmap.PROT_READ | mmap.PROT_WRITE).close()
        finally:
            os.close(reading)
        had.append("map to write")
    def by_descriptor(change):
        reading = os.open(path, os.O_RDONLY)
        try:
            change(reading)
        finally:
            os.close(reading)
    def link():
        name = os.path.join(os.getcwd(), "linked")
        os.link(path, name)
        try:
            os.close(os.open(name, os.O_RDWR))
            had.append("open to write through a link of one's own")
        finally:
            os.unlink(name)
    def attribute():
        os.setxattr(path, "user.planted", b"x")
        if "user.planted" in os.listxattr(path):
            had.append("set an attribute")
    ways = {
        "map": mapped, "proc": through_proc, "link": link,
        "chmod": lambda: os.chmod(path, before[0] ^ 0o200),
        "fchmod": lambda: by_descriptor(lambda fd: os.fchmod(fd, before[0] ^ 0o200)),
        "chmod through /proc": lambda: by_descriptor(
            lambda fd: os.chmod(f"/proc/self/fd/{fd}", before[0] ^ 0o200)),
        "utime": lambda: os.utime(path, ns=(1, 1)),
        "futimens": lambda: by_descriptor(lambda fd: os.utime(fd, ns=(1, 1))),
        "chown": lambda: os.chown(path, os.getuid(), os.getgid()),
        "xattr": attribute,
    }
    if destroy:
        other = os.path.join(os.getcwd(), "other")
        with open(other, "w") as file:
            file.write("planted")
        ways |= {
            "cut": lambda: os.truncate(path, 0),
            "cut while opening": lambda: os.close(os.open(path, os.O_RDONLY | os.O_TRUNC)),
            "cut by descriptor": lambda: by_descriptor(lambda fd: os.ftruncate(fd, 0)),
            "fill": lambda: by_descriptor(lambda fd: os.posix_fallocate(fd, 0, 1 << 20)),
            "copy over": lambda: by_descriptor(lambda fd: os.copy_file_range(
                os.open(other, os.O_RDONLY), fd, 7)),
            "rename over": lambda: os.rename(other, path),
            "rename away": lambda: os.rename(path, other),
            "unlink": lambda: os.unlink(path),
            "rename its directory": lambda: os.rename(
                os.path.dirname(path), os.path.dirname(path) + "x"),
        }
    for name, way in ways.items():
        try:
            way()
        except (OSError, ValueError):
            pass
        try:
            now = _state(path)
        except OSError:
            had.append(f"{name}: gone")
            return had
        if now != before:
            had.append(name)
            before = now
    return had

def plant(directory):
    """All ways to put something new into a directory; cleans up what it planted."""
    had = []
    name = os.path.join(directory, "planted-by-attack")
    own = os.path.join(os.getcwd(), "own-file")
    with open(own, "w") as file:
        file.write("x")
    ways = {
        "create": lambda: os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600)),
        "mkdir": lambda: os.mkdir(name),
        "symlink": lambda: os.symlink("/etc", name),
        "fifo": lambda: os.mkfifo(name),
        "link": lambda: os.link(own, name),
        "rename": lambda: os.rename(own, name),
        "unnamed": lambda: os.close(os.open(directory, os.O_TMPFILE | os.O_RDWR)),
    }
    for way, work in ways.items():
        try:
            work()
        except OSError:
            continue
        had.append(way)
        try:
            (os.rmdir if way == "mkdir" else os.unlink)(name)
        except OSError:
            pass
    return had
'''

#: ``scan_memory({name: (first half, second half)})``: which of these are in this process's memory.
#: The needles come in halves, since whole ones would be found in the code that looks for them.
SCAN_MEMORY = r"""
import ctypes, os
def scan_memory(needles):
    found, seen = set(), 0
    libc = ctypes.CDLL(None)
    reading, writing = os.pipe()
    def read(at, size):
        # Through a pipe: the system answers with an error where reading it here would be fatal.
        pieces = []
        while size > 0:
            written = libc.write(writing, ctypes.c_void_p(at), ctypes.c_size_t(min(size, 1 << 16)))
            if written <= 0:
                break
            pieces.append(os.read(reading, written))
            at, size = at + written, size - written
        return b"".join(pieces)
    regions = [line.split() for line in open("/proc/self/maps")]
    for region in regions:
        if "r" not in region[1] or region[-1] in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
            continue
        start, end = (int(part, 16) for part in region[0].split("-"))
        for at in range(start, end, 1 << 20):
            piece = read(at, min((1 << 20) + 128, end - at))
            seen += min(len(piece), 1 << 20)
            for name, (first, second) in needles.items():
                spot = piece.find(first)
                while spot >= 0:
                    if piece[spot + len(first):spot + len(first) + len(second)] == second:
                        found.add(name)
                        break
                    spot = piece.find(first, spot + 1)
    os.close(reading), os.close(writing)
    return sorted(found), seen >> 20
"""


def halves(needle: str) -> tuple[bytes, bytes]:
    """A needle for ``scan_memory``."""
    middle = len(needle) // 2
    return needle[:middle].encode(), needle[middle:].encode()

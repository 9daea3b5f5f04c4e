"""What a kernel may ask of the system: two seccomp filters, compiled here and loaded by the kernel.

The first lists the system calls there are at all; the second refuses some of their arguments. The
system takes the stricter answer of both. They are compiled by libseccomp in the service, so that
nothing needs to be installed for kernels, and handed to the fork server as bytes.

An unlisted call fails with ENOSYS, as on an older Linux: libraries then try what they did before
it existed. Those that are refused for what they are fail with EPERM.

Source: seccomp(2), syscalls(2), seccomp_rule_add(3), and the manual page of each call.
"""

import errno
import socket
import tempfile
from collections.abc import Iterable
from typing import Any

_WORD = 0xFFFF_FFFF  # the system looks at the lower half of an int argument only

_FILES = """
    access chdir close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
    fadvise64 fchdir fcntl fdatasync flock fstat fstatfs fsync ftruncate futimesat getcwd
    getdents getdents64 getxattr fgetxattr lgetxattr inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch ioctl link linkat listxattr flistxattr llistxattr lseek lstat mkdir mkdirat
    mknod mknodat newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2
    read readahead readlink readlinkat readv rename renameat renameat2 rmdir sendfile splice stat
    statfs statx symlink symlinkat sync_file_range tee truncate umask unlink unlinkat vmsplice write
    writev cachestat
"""
_PERMISSIONS = """
    chmod chown fchmod fchmodat fchmodat2 fchown fchownat lchown utime utimensat utimes setxattr
    fsetxattr lsetxattr removexattr fremovexattr lremovexattr
"""
_MEMORY = """
    brk get_mempolicy madvise mbind membarrier mincore mlock mlock2 mlockall mmap mprotect mremap
    mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect set_mempolicy
"""
_PROCESSES = """
    alarm arch_prctl capget capset clone execve execveat exit exit_group fork futex futex_requeue
    futex_wait futex_waitv futex_wake get_robust_list getegid geteuid getgid getgroups getitimer
    getpgid getpgrp getpid getppid getresgid getresuid getrlimit getrusage getsid gettid getuid
    getcpu kill pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_tgsigqueueinfo set_robust_list set_tid_address setgid setgroups setitimer
    setpgid setregid setresgid setresuid setreuid setrlimit setsid setuid sigaltstack signalfd
    signalfd4 sysinfo tgkill times tkill uname vfork wait4 waitid
"""
_SCHEDULING = """
    getpriority ioprio_get ioprio_set sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield setpriority
"""
_TIME = """
    clock_getres clock_gettime clock_nanosleep gettimeofday nanosleep time timer_create
    timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime
    timerfd_settime
"""
_WAITING = """
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2
    getrandom pipe pipe2 poll ppoll pselect6 select
"""
_SOCKETS = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg
    sendmmsg sendmsg sendto setsockopt shutdown socket socketpair
"""
#: Memory that no process has mapped: only where the control group counts it.
_KERNEL_MEMORY = """
    memfd_create msgctl msgget msgrcv msgsnd semctl semget semop semtimedop shmat shmctl shmdt
    shmget mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink
"""
#: Refused for what they are. Everything else that is not listed above doesn't exist in a kernel.
_REFUSED = """
    acct add_key adjtimex bpf chroot clock_adjtime clock_settime delete_module fanotify_init
    fanotify_mark finit_module fsconfig fsmount fsopen fspick init_module ioperm iopl kcmp
    kexec_file_load kexec_load keyctl mount mount_setattr move_mount move_pages migrate_pages
    name_to_handle_at nfsservctl open_by_handle_at open_tree perf_event_open personality pidfd_getfd
    pivot_root process_madvise process_mrelease process_vm_readv process_vm_writev ptrace quotactl
    quotactl_fd reboot request_key seccomp setdomainname setfsgid setfsuid sethostname setns
    settimeofday swapoff swapon syslog umount2 unshare uselib vhangup
"""
#: Answered with success and not done: flushing the disk of the whole machine is nobody's business.
_IGNORED = "sync syncfs"

_CLONE_NEW = (
    0x0002_0000,  # NEWNS
    0x0200_0000,  # NEWCGROUP
    0x0400_0000,  # NEWUTS
    0x0800_0000,  # NEWIPC
    0x1000_0000,  # NEWUSER
    0x2000_0000,  # NEWPID
    0x4000_0000,  # NEWNET
)
#: They put words into a terminal's input, or read its screen.
_REFUSED_IOCTLS = (0x5412, 0x541C, 0x541D)  # TIOCSTI, TIOCLINUX, TIOCCONS
#: fallocate by other names: FS_IOC_RESVSP, FS_IOC_RESVSP64, FS_IOC_ZERO_RANGE.
_ALLOCATING_IOCTLS = (0x4030_5828, 0x4030_582A, 0x4030_5839)
#: PR_SET_DUMPABLE would hide memory from the watcher; the others change what confines a kernel.
_REFUSED_PRCTLS = (4, 22, 35, 59, 62)  # also SECCOMP, MM, SYSCALL_USER_DISPATCH, SCHED_CORE
_PERSONALITIES = (0, _WORD)  # the usual one, and the question which it is
#: They change how a thread is run; the first argument says whose.
_THREADS = ("sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler")
#: The same for one process, a group or a user, with the number that means one process.
_PRIORITIES = (("setpriority", 0), ("ioprio_set", 1))
_INIT = 1  # of a pid namespace

_MOST_FAMILIES = 64
_UNIX, _INET, _NETLINK, _INET6 = socket.AF_UNIX, socket.AF_INET, 16, socket.AF_INET6
_STREAM, _DATAGRAM, _SEQUENCED = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
_TYPE_MASK = 0xF
_MSG_FASTOPEN = 0x2000_0000
#: Gigabytes in a millisecond, which no watcher is quick enough for: libraries write instead.
_NO_ALLOCATING = errno.EOPNOTSUPP


class SeccompUnavailable(Exception):
    """The library that compiles filters is missing; the text is the reason."""


def build_filters(
    *, own_network: bool, own_processes: bool, own_user: bool, counted: bool
) -> tuple[bytes, bytes]:
    """Compile the filters for kernels on this machine.

    Args:
        own_network: each kernel has a network of its own, which leads nowhere. Otherwise it gets
            none: no internet sockets, and no connection to anybody's Unix sockets.
        own_processes: each kernel sees its own processes only, the first of which is its init: it
            may change the priority and limits of each but that one. Otherwise of none but the
            process that asks.
        own_user: no other kernel, nor the service, has the same user id as the host counts.
            Otherwise calls that change permissions or times of files by name succeed and do
            nothing: Landlock doesn't look at them.
        counted: a control group counts the memory of the kernel.

    Returns:
        Two BPF programs, each an array of ``struct sock_filter``.

    Raises:
        SeccompUnavailable: libseccomp is not installed, or doesn't work.
    """
    library = _library()
    try:
        calls = _calls(library, own_user=own_user, shared_memory=counted)
        arguments = _arguments(library, own_network=own_network, own_processes=own_processes)
    except OSError as error:
        raise SeccompUnavailable(f"libseccomp could not compile a filter ({error})") from error
    return calls, arguments


def _library() -> Any:
    try:
        import pyseccomp
    except RuntimeError as error:  # its way to say that the C library is missing
        raise SeccompUnavailable("the library libseccomp.so.2 was not found") from error
    return pyseccomp


def _calls(library: Any, *, own_user: bool, shared_memory: bool) -> bytes:
    """Which system calls there are."""
    nothing = library.ERRNO(0)
    program = _Program(library, default=library.ERRNO(errno.ENOSYS), strict=False)
    allowed = {*_names(_FILES, _MEMORY, _PROCESSES, _TIME, _WAITING, _SOCKETS, _SCHEDULING)}
    if shared_memory:
        allowed |= {*_names(_KERNEL_MEMORY)}
    if own_user:
        allowed |= {*_names(_PERMISSIONS)}
    else:
        # Instances are counted by user: kernels would use up each other's, and the service's.
        allowed -= {"inotify_add_watch", "inotify_init", "inotify_init1"}
        program.add(nothing, _names(_PERMISSIONS))
    program.add(nothing, _names(_IGNORED))
    program.add(library.ERRNO(_NO_ALLOCATING), ["fallocate"])
    program.add(library.ERRNO(errno.EPERM), set(_names(_REFUSED)) - {"personality"})
    program.add(library.ALLOW, allowed)
    for persona in _PERSONALITIES:
        program.add(library.ALLOW, ["personality"], (0, _WORD, persona))
    return program.compile()


def _arguments(library: Any, *, own_network: bool, own_processes: bool) -> bytes:
    """Which of their arguments are refused."""
    refused = library.ERRNO(errno.EPERM)
    no_family = library.ERRNO(errno.EAFNOSUPPORT)
    program = _Program(library, default=library.ALLOW, strict=True)
    for flag in _CLONE_NEW:
        program.add(refused, ["clone"], (0, flag, flag))
    for request in _REFUSED_IOCTLS:
        program.add(refused, ["ioctl"], (1, _WORD, request))
    for request in _ALLOCATING_IOCTLS:
        program.add(library.ERRNO(_NO_ALLOCATING), ["ioctl"], (1, _WORD, request))
    for option in _REFUSED_PRCTLS:
        program.add(refused, ["prctl"], (0, _WORD, option))
    families = {_UNIX, _INET, _INET6, _NETLINK} if own_network else {_UNIX}
    for family in set(range(_MOST_FAMILIES)) - families:
        # glibc's getifaddrs reports this one, and libzmq takes no other for "no network".
        answer = library.ERRNO(errno.EOPNOTSUPP) if family == _NETLINK else no_family
        program.add(answer, ["socket", "socketpair"], (0, _WORD, family))
    for bit in range(_MOST_FAMILIES.bit_length() - 1, 32):
        program.add(no_family, ["socket", "socketpair"], (0, 1 << bit, 1 << bit))
    if own_network:
        for family in (_INET, _INET6):
            for kind in set(range(_TYPE_MASK + 1)) - {_STREAM, _DATAGRAM}:
                program.add(refused, ["socket"], (0, _WORD, family), (1, _TYPE_MASK, kind))
        for protocol in range(1, 32):  # 0 is NETLINK_ROUTE
            program.add(refused, ["socket"], (0, _WORD, _NETLINK), (2, _WORD, protocol))
    else:
        program.add(library.ERRNO(errno.EACCES), ["connect"])
        for kind in set(range(_TYPE_MASK + 1)) - {
            _STREAM,
            _SEQUENCED,
        }:  # those that need no connect
            program.add(refused, ["socket"], (0, _WORD, _UNIX), (1, _TYPE_MASK, kind))
        for call, index in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
            program.add(refused, [call], (index, _MSG_FASTOPEN, _MSG_FASTOPEN))
    # Not by user or group, which names processes without their ids.
    for call, one_process in _PRIORITIES:
        program.add_unless(refused, [call], 0, one_process)
    if own_processes:
        _spare_init(program)
    else:
        _restrict_to_self(program)
    return program.compile()


def _spare_init(program: "_Program") -> None:
    """Let a process change all that are the kernel's, but not the init, whose user it shares.

    An init without descriptors, or without time, could look after nothing.
    """
    refused = program.library.ERRNO(errno.EPERM)
    program.add(refused, ["prlimit64", *_THREADS], (0, _WORD, _INIT))
    for call, one_process in _PRIORITIES:
        program.add(refused, [call], (0, _WORD, one_process), (1, _WORD, _INIT))


def _restrict_to_self(program: "_Program") -> None:
    """Let a process change itself only."""
    refused, nothing = program.library.ERRNO(errno.EPERM), program.library.ERRNO(0)
    # libzmq sets the policy of each of its threads to what it is, and aborts if that fails.
    program.add_unless(nothing, _THREADS, 0, 0)
    program.add_unless(refused, ["prlimit64"], 0, 0)
    for call, _ in _PRIORITIES:
        program.add_unless(refused, [call], 1, 0)


class _Program:
    """A filter in the making."""

    def __init__(self, library: Any, *, default: int, strict: bool) -> None:
        self.library = library
        self._strict = strict
        self._filter = library.SyscallFilter(default)
        # Another architecture's calls (32 bits on a 64-bit machine) would go by other numbers.
        self._filter.set_attr(library.Attr.ACT_BADARCH, library.KILL_PROCESS)
        self._filter.set_attr(library.Attr.CTL_OPTIMIZE, 2)

    def add(self, action: int, names: Iterable[str], *arguments: tuple[int, int, int]) -> None:
        """Answer some calls so, if each (index, mask, value) of the arguments is met."""
        tests = [
            self.library.Arg(index, self.library.MASKED_EQ, mask, value)
            for index, mask, value in arguments
        ]
        self._add(action, names, tests)

    def add_unless(self, action: int, names: Iterable[str], index: int, value: int) -> None:
        """Answer some calls so, unless an argument has this value."""
        self._add(action, names, [self.library.Arg(index, self.library.NE, value)])

    def _add(self, action: int, names: Iterable[str], tests: list[Any]) -> None:
        for name in sorted(names):
            try:
                self._filter.add_rule(action, name, *tests)
            except OSError as error:
                # A call that this architecture, or this libseccomp, doesn't know.
                if self._strict or error.errno not in (errno.EINVAL, errno.EDOM):
                    raise

    def compile(self) -> bytes:
        """The program as the system takes it."""
        with tempfile.TemporaryFile() as file:
            self._filter.export_bpf(file)
            file.seek(0)
            return file.read()


def _names(*lists: str) -> list[str]:
    return [name for names in lists for name in names.split()]

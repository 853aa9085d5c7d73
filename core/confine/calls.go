package confine

import (
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// The filter is a list of what is allowed, not of what is refused: a system call that
// the next kernel brings is refused until somebody has thought about it. The list is
// what the runtimes of Go, Python and C need for files, sockets, threads and time, less
// what acts on other processes of the same user or on the machine. Landlock does not
// look at chmod, chown, utimes and xattrs, so they are not on it either: a driver that
// shares the gateway's user could change the mode of any file of that user.

// plainCalls may be made with any argument. The first ones are the frequent ones:
// where the kernel does not cache its verdicts it goes through the list in order.
const plainCalls = `
read write futex epoll_pwait epoll_wait nanosleep clock_nanosleep clock_gettime
readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 recvfrom recvmsg recvmmsg
sched_yield madvise munmap mprotect brk mremap epoll_ctl epoll_create epoll_create1 epoll_pwait2
poll ppoll select pselect6 eventfd eventfd2 pipe pipe2 close close_range dup dup2 dup3

open openat openat2 creat lseek stat fstat lstat newfstatat fstatat statx statfs fstatfs
access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir
rename renameat renameat2 mkdir mkdirat rmdir unlink unlinkat link linkat symlink symlinkat
ftruncate fallocate fsync fdatasync sync_file_range fadvise64 readahead flock umask
sendfile splice copy_file_range

mincore msync mlock mlock2 munlock membarrier mseal pkey_alloc pkey_free pkey_mprotect
exit exit_group wait4 waitid set_tid_address set_robust_list rseq arch_prctl
futex_wake futex_wait futex_requeue futex_waitv restart_syscall map_shadow_stack
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack
signalfd signalfd4 pause alarm getitimer setitimer
timer_create timer_settime timer_gettime timer_getoverrun timer_delete
timerfd_create timerfd_settime timerfd_gettime clock_getres gettimeofday time times
getpid gettid getppid getpgid getpgrp getsid getuid geteuid getgid getegid getresuid getresgid
getgroups getrandom getrlimit setrlimit getrusage getpriority getcpu uname sysinfo capget
sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min

bind listen accept accept4 getsockname getpeername getsockopt setsockopt shutdown
landlock_create_ruleset landlock_add_rule landlock_restrict_self
`

// A call is a rule for one system call: what is done where all conditions on its
// arguments hold. Where none of a call's rules applies, it is refused.
//
// Where an argument is an int the kernel ignores the upper half of the register, and
// a filter must not be fooled by it: what allows compares all 64 bits, what refuses
// only the lower ones.
type call struct {
	name       string
	conditions []condition
	action     seccomp.Action
}

func allow(name string, conditions ...condition) call {
	return call{name: name, conditions: conditions, action: seccomp.ActionAllow}
}

func refuse(name string, conditions ...condition) call {
	return call{name: name, conditions: conditions, action: failing(unix.EPERM)}
}

// refusedCalls are exceptions from what allowedCalls allows.
func (f *filter) refusedCalls() []call {
	var refused []call
	if f.Processes == 0 {
		// Nobody to share it with, and no resource limit would count it.
		refused = append(refused, refuse("mmap", has(3, unix.MAP_SHARED), has(3, unix.MAP_ANONYMOUS)))
	}
	for _, request := range []uint32{
		unix.TIOCSTI, 0x541c, // TIOCLINUX: both type on a terminal
		unix.TIOCSETD,  // loads line disciplines into the kernel
		0x8901, 0x8902, // FIOSETOWN, SIOCSPGRP: signals to other processes
		unix.FS_IOC_SETFLAGS, 0x401c5820, // FS_IOC_FSSETXATTR: attributes of any file of the user
	} {
		refused = append(refused, refuse("ioctl", lower(1, request)))
	}
	return refused
}

const (
	// otherNamespaces are flags of clone that ask for namespaces, for a parent that is
	// not the caller, or for a tracer. CLONE_NEWTIME is a bit of the signal's number here.
	otherNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_PARENT | unix.CLONE_PTRACE
	socketFlags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
)

// allowedCalls are what the policy allows with some arguments only. pid is the
// process's, which the exec does not change.
func (f *filter) allowedCalls(pid uint64) []call {
	calls := slices.Concat(f.taskCalls(pid), f.socketCalls())
	calls = append(calls, allow("mmap"), allow("ioctl"), allow("prlimit64", is(0, 0)), allow("prlimit64", is(0, pid)))
	// All operations but those that make a descriptor signal another process.
	for _, operation := range []uint64{
		unix.F_DUPFD, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL,
		unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW,
		unix.F_DUPFD_CLOEXEC, unix.F_SETPIPE_SZ, unix.F_GETPIPE_SZ, unix.F_GET_SEALS,
	} {
		calls = append(calls, allow("fcntl", is(1, operation)))
	}
	for _, option := range []uint64{
		unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_VMA, unix.PR_SET_TIMERSLACK, unix.PR_GET_TIMERSLACK,
		unix.PR_SET_PDEATHSIG, unix.PR_GET_PDEATHSIG, unix.PR_SET_DUMPABLE, unix.PR_GET_DUMPABLE,
		unix.PR_SET_NO_NEW_PRIVS, unix.PR_GET_NO_NEW_PRIVS, unix.PR_SET_THP_DISABLE, unix.PR_GET_THP_DISABLE,
		unix.PR_CAPBSET_READ, unix.PR_GET_SECCOMP, unix.PR_GET_TID_ADDRESS,
	} {
		calls = append(calls, allow("prctl", is(0, option)))
	}
	return calls
}

// taskCalls are about threads, processes and signals.
func (f *filter) taskCalls(pid uint64) []call {
	if f.Processes > 0 {
		// Its children have numbers of their own; Landlock keeps signals among them.
		return []call{allow("clone", hasNone(0, otherNamespaces)), allow("fork"), allow("vfork"), allow("kill"), allow("tgkill")}
	}
	return []call{
		allow("clone", has(0, unix.CLONE_THREAD), hasNone(0, otherNamespaces)),
		allow("kill", is(0, pid)), allow("tgkill", is(0, pid)),
	}
}

// network is what a process may reach and offer beyond its files; see Policy.
type network struct {
	TCP                             bool
	ConnectTCP, BindTCP, ConnectUDP []uint16
	UDP, Unix                       bool
}

// tcp reports whether the process needs sockets for TCP, udp for UDP.
func (n *network) tcp() bool { return n.TCP || len(n.ConnectTCP)+len(n.BindTCP) > 0 }
func (n *network) udp() bool { return n.UDP || len(n.ConnectUDP) > 0 }

// connects reports whether the process has any reason to open a connection.
func (n *network) connects() bool { return n.TCP || len(n.ConnectTCP) > 0 || n.udp() || n.Unix }

// socketCalls are about making sockets and reaching others. MSG_FASTOPEN connects
// where only a send is seen, so that Landlock does not see it.
func (n *network) socketCalls() []call {
	calls := []call{
		allow("sendto", hasNone(3, unix.MSG_FASTOPEN)),
		allow("sendmsg", hasNone(2, unix.MSG_FASTOPEN)),
		allow("sendmmsg", hasNone(3, unix.MSG_FASTOPEN)),
		sockets("socket", unix.AF_UNIX, unix.SOCK_STREAM, 0),
		sockets("socketpair", unix.AF_UNIX, unix.SOCK_STREAM, 0),
	}
	if n.connects() {
		calls = append(calls, allow("connect"))
	}
	if n.Unix {
		calls = append(calls, sockets("socket", unix.AF_UNIX, unix.SOCK_DGRAM, 0),
			sockets("socket", unix.AF_UNIX, unix.SOCK_SEQPACKET, 0))
	}
	for _, family := range []uint64{unix.AF_INET, unix.AF_INET6} {
		if n.tcp() {
			calls = append(calls, sockets("socket", family, unix.SOCK_STREAM, 0),
				sockets("socket", family, unix.SOCK_STREAM, unix.IPPROTO_TCP))
		}
		if n.udp() {
			calls = append(calls, sockets("socket", family, unix.SOCK_DGRAM, 0),
				sockets("socket", family, unix.SOCK_DGRAM, unix.IPPROTO_UDP))
		}
	}
	return calls
}

// sockets allows one kind of socket, so no raw ones, no netlink, and none of the
// protocols that carry TCP past Landlock's rules (MPTCP is 262, SMC a family).
func sockets(name string, family, kind, protocol uint64) call {
	conditions := []condition{is(0, family), hasNone(1, ^(kind | socketFlags)), is(2, protocol)}
	for bit := range 4 {
		if kind>>bit&1 != 0 {
			conditions = append(conditions, has(1, 1<<bit))
		}
	}
	return allow(name, conditions...)
}

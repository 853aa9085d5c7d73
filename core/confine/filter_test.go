package confine_test

import (
	"encoding/binary"
	"os"
	"runtime"
	"strings"
	"testing"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/confine"
)

// judge interprets a filter, so that its verdicts can be tested without making calls.
type judge struct {
	vm   *bpf.VM
	info *arch.Info
}

func newJudge(t testing.TB, p confine.Policy) judge {
	t.Helper()
	info, err := arch.GetInfo(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	return judgeOf(t, p, info)
}

func judgeOf(t testing.TB, p confine.Policy, info *arch.Info) judge {
	t.Helper()
	raw, err := p.Filter(info)
	if err != nil {
		t.Fatal(err)
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter does not disassemble")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return judge{vm: vm, info: info}
}

// of gives the verdict on one call. The interpreter reads words in network order, the
// kernel in the machine's: the words of struct seccomp_data are written so.
func (j judge) of(t testing.TB, architecture, number uint32, args ...uint64) seccomp.Action {
	t.Helper()
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data, number)
	binary.BigEndian.PutUint32(data[4:], architecture)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[16+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[20+8*i:], uint32(a>>32))
	}
	verdict, err := j.vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return seccomp.Action(uint32(verdict))
}

func (j judge) call(t testing.TB, name string, args ...uint64) seccomp.Action {
	t.Helper()
	number, ok := j.info.SyscallNames[name]
	if !ok {
		t.Fatalf("no call %q", name)
	}
	return j.of(t, uint32(j.info.ID), uint32(number), args...)
}

const (
	yes   = seccomp.ActionAllow
	no    = seccomp.ActionErrno | seccomp.Action(unix.EPERM)
	none  = seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)
	noFam = seccomp.ActionErrno | seccomp.Action(unix.EAFNOSUPPORT)
	ask   = seccomp.ActionUserNotify
	kill  = seccomp.ActionKillProcess
	upper = 1 << 32 // a bit of the half that the kernel ignores in an int
)

func TestFilterVerdicts(t *testing.T) {
	pid := uint64(os.Getpid())
	serial := confine.Policy{Devices: []string{"/dev/ttyS0"}}
	tcp := confine.Policy{ConnectTCP: []uint16{502}}
	udp := confine.Policy{ConnectUDP: []uint16{53}}
	children := confine.Policy{Processes: 2}
	python := confine.Policy{Execute: []string{"/usr/bin"}}
	for _, c := range []struct {
		why    string
		policy confine.Policy
		call   string
		args   []uint64
		want   seccomp.Action
	}{
		{"read", serial, "read", nil, yes},
		{"private memory", serial, "mmap", []uint64{0, 4096, 3, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS}, yes},
		{"a private file", serial, "mmap", []uint64{0, 4096, 3, unix.MAP_PRIVATE | unix.MAP_FIXED | unix.MAP_DENYWRITE, 3}, yes},
		{"a shared file", serial, "mmap", []uint64{0, 4096, 3, unix.MAP_SHARED, 3}, yes},
		{"shared memory of no file", serial, "mmap", []uint64{0, 4096, 3, unix.MAP_SHARED | unix.MAP_ANONYMOUS}, no},
		{"shared memory among children", children, "mmap", []uint64{0, 4096, 3, unix.MAP_SHARED | unix.MAP_ANONYMOUS}, yes},
		{"terminal settings", serial, "ioctl", []uint64{3, unix.TCGETS}, yes},
		{"an ioctl as musl passes it", serial, "ioctl", []uint64{3, 0xffffffff_80045430}, yes},
		{"typing", serial, "ioctl", []uint64{3, unix.TIOCSTI}, no},
		{"typing, upper half set", serial, "ioctl", []uint64{3, unix.TIOCSTI | upper}, no},
		{"line discipline", serial, "ioctl", []uint64{3, unix.TIOCSETD}, no},
		{"a thread", serial, "clone", []uint64{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND}, yes},
		{"a thread in a namespace", serial, "clone", []uint64{unix.CLONE_THREAD | unix.CLONE_NEWNET}, no},
		{"a child", serial, "clone", []uint64{uint64(unix.SIGCHLD)}, no},
		{"an allowed child", children, "clone", []uint64{uint64(unix.SIGCHLD)}, yes},
		{"a child in a user namespace", children, "clone", []uint64{uint64(unix.SIGCHLD) | unix.CLONE_NEWUSER}, no},
		{"a sibling", children, "clone", []uint64{uint64(unix.SIGCHLD) | unix.CLONE_PARENT}, no},
		{"clone3", children, "clone3", nil, none},
		{"itself", serial, "kill", []uint64{pid, 9}, yes},
		{"another", serial, "kill", []uint64{pid + 1, 9}, no},
		{"all", serial, "kill", []uint64{^uint64(0), 9}, no},
		{"its thread", serial, "tgkill", []uint64{pid, 7, 9}, yes},
		{"another's thread", serial, "tgkill", []uint64{1, 1, 9}, no},
		{"own limits", serial, "prlimit64", []uint64{0, 7}, yes},
		{"another's limits", serial, "prlimit64", []uint64{1, 7}, no},
		{"signals from a descriptor", serial, "fcntl", []uint64{3, unix.F_SETOWN, 1}, no},
		{"signals, upper half set", serial, "fcntl", []uint64{3, unix.F_SETOWN | upper, 1}, no},
		{"thread's name", serial, "prctl", []uint64{unix.PR_SET_NAME}, yes},
		{"ptracer", serial, "prctl", []uint64{unix.PR_SET_PTRACER}, no},
		{"unix stream", serial, "socket", []uint64{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, 0}, yes},
		{"unix datagram", serial, "socket", []uint64{unix.AF_UNIX, unix.SOCK_DGRAM, 0}, noFam},
		{"unix seqpacket", serial, "socket", []uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET, 0}, noFam},
		{"pair of datagrams", serial, "socketpair", []uint64{unix.AF_UNIX, unix.SOCK_DGRAM, 0}, no},
		{"tcp of a serial driver", serial, "socket", []uint64{unix.AF_INET, unix.SOCK_STREAM, 0}, noFam},
		{"connect of a serial driver", serial, "connect", []uint64{3}, no},
		{"tcp", tcp, "socket", []uint64{unix.AF_INET6, unix.SOCK_STREAM | unix.SOCK_NONBLOCK, unix.IPPROTO_TCP}, yes},
		{"mptcp", tcp, "socket", []uint64{unix.AF_INET, unix.SOCK_STREAM, 262}, noFam},
		{"mptcp, upper half set", tcp, "socket", []uint64{unix.AF_INET, unix.SOCK_STREAM, 262 | upper}, noFam},
		{"sctp", tcp, "socket", []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}, noFam},
		{"smc", tcp, "socket", []uint64{unix.AF_SMC, unix.SOCK_STREAM, 0}, noFam},
		{"raw", udp, "socket", []uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, noFam},
		{"udp of a tcp driver", tcp, "socket", []uint64{unix.AF_INET, unix.SOCK_DGRAM, 0}, noFam},
		{"udp", udp, "socket", []uint64{unix.AF_INET, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC, unix.IPPROTO_UDP}, yes},
		{"ping", udp, "socket", []uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, noFam},
		{"netlink", tcp, "socket", []uint64{unix.AF_NETLINK, unix.SOCK_RAW, 0}, noFam},
		{"packet", tcp, "socket", []uint64{unix.AF_PACKET, unix.SOCK_RAW, 0}, noFam},
		{"send", tcp, "sendto", []uint64{3, 0, 0, unix.MSG_NOSIGNAL}, yes},
		{"send that connects", tcp, "sendto", []uint64{3, 0, 0, unix.MSG_FASTOPEN}, no},
		{"sendmsg that connects", tcp, "sendmsg", []uint64{3, 0, unix.MSG_FASTOPEN}, no},
		{"sendmmsg that connects", tcp, "sendmmsg", []uint64{3, 0, 1, unix.MSG_FASTOPEN}, no},
		{"the image", serial, "execveat", []uint64{3, 0, 0, 0, unix.AT_EMPTY_PATH}, ask},
		{"another image", serial, "execveat", []uint64{4, 0, 0, 0, unix.AT_EMPTY_PATH}, no},
		{"a path", serial, "execveat", []uint64{3, 0, 0, 0, 0}, no},
		{"execve", serial, "execve", nil, no},
		{"execve with paths to execute", python, "execve", nil, yes},
		{"ptrace", serial, "ptrace", nil, no},
		{"chmod", serial, "fchmodat", nil, no},
		{"io_uring", serial, "io_uring_setup", nil, no},
	} {
		if got := newJudge(t, c.policy).call(t, c.call, c.args...); got != c.want {
			t.Errorf("%s: %s%#x: %v (%#x), want %v", c.why, c.call, c.args, got, uint32(got), c.want)
		}
	}
}

// A call of another architecture has other numbers, and one from after the list was
// made is unknown: neither may fall through to something that allows.
func TestFilterRefusesWhatItCannotJudge(t *testing.T) {
	j := newJudge(t, confine.Policy{})
	for _, other := range []*arch.Info{arch.I386, arch.ARM} {
		if got := j.of(t, uint32(other.ID), 3); got != kill {
			t.Errorf("%s: %v", other.Name, got)
		}
	}
	const x32 = 1 << 30
	for _, number := range []uint32{x32, x32 | 59, 1000, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		if got := j.of(t, uint32(j.info.ID), number); got != none {
			t.Errorf("call %#x: %v", number, got)
		}
	}
}

// The lists are one for all architectures; what a Go program cannot do without must be
// known by its name on each.
func TestFilterLetsGoRun(t *testing.T) {
	for _, info := range []*arch.Info{arch.X86_64, arch.AARCH64} {
		j := judgeOf(t, confine.Policy{ConnectTCP: []uint16{502}}, info)
		for _, name := range strings.Fields(`read write pread64 close openat fcntl ioctl mmap munmap mprotect madvise futex nanosleep
			rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack sched_yield sched_getaffinity gettid getpid exit exit_group
			epoll_create1 epoll_ctl epoll_pwait eventfd2 pipe2 bind listen accept4 connect getsockname getsockopt setsockopt
			shutdown sendto recvfrom sendmsg recvmsg getrandom uname unlinkat mkdirat fstat getdents64 ftruncate fsync
			clock_gettime clock_nanosleep timer_create timer_settime waitid getppid prlimit64 set_robust_list set_tid_address
			pselect6 ppoll newfstatat statx lseek writev readv dup3`) {
			number, ok := info.SyscallNames[name]
			if !ok && name == "newfstatat" {
				number, ok = info.SyscallNames["fstatat"]
			}
			argument := uint64(0)
			if name == "fcntl" {
				argument = unix.F_GETFL
			}
			if got := j.of(t, uint32(info.ID), uint32(number), 0, argument); !ok || got != yes {
				t.Errorf("%s: %s: known %v, %v", info.Name, name, ok, got)
			}
		}
		if got := j.call(t, "clone", unix.CLONE_VM|unix.CLONE_THREAD); got != yes {
			t.Errorf("%s: a thread: %v", info.Name, got)
		}
	}
}

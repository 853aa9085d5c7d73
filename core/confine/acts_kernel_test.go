package confine_test

import (
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// netActs reach, or let others reach, the driver.
func netActs() map[string]act {
	return map[string]act{
		"connect to an allowed port":   func(s *scene) error { return dial("tcp", s.Allowed) },
		"connect to another port":      func(s *scene) error { return dial("tcp", s.Other) },
		"connect by a first send":      fastOpen,
		"connect by MPTCP":             func(s *scene) error { return connect(262, s.Other) },
		"connect by IPv6":              connectMapped,
		"listen on a TCP port":         func(*scene) error { return listenTCP("127.0.0.1:0") },
		"listen on TCP without bind":   listenUnbound,
		"send a datagram (UDP)":        func(s *scene) error { return sendUDP(s.Datagrams) },
		"raw socket":                   func(*scene) error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) },
		"ping socket":                  func(*scene) error { return socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP) },
		"packet socket":                func(*scene) error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0) },
		"netlink socket":               func(*scene) error { return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE) },
		"kernel crypto socket":         func(*scene) error { return socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0) },
		"another driver's unix socket": func(s *scene) error { return dial("unix", s.Socket) },
		"the gateway's API":            func(s *scene) error { return dial("unix", s.API) },
		"an abstract unix socket":      func(s *scene) error { return dial("unix", s.Abstract) },
		"a datagram to the log":        func(*scene) error { return socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0) },
	}
}

func dial(network, address string) error {
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	return c.Close()
}

func listenTCP(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

func socket(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func connect(protocol int, address string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	return unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: portOf(address)})
}

// connectMapped reaches an IPv4 address through a socket for IPv6.
func connectMapped(s *scene) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	mapped := [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}
	return unix.Connect(fd, &unix.SockaddrInet6{Addr: mapped, Port: portOf(s.Other)})
}

func listenUnbound(*scene) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Listen(fd, 1)
}

func fastOpen(s *scene) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: portOf(s.Other)})
}

func sendUDP(address string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: portOf(address)})
}

// kernelActs are about the machine. Their arguments are such that nothing happens to it
// where they are allowed, as they are without confinement.
func kernelActs() map[string]act {
	return map[string]act{
		"mount":                 mount,
		"change the root":       func(*scene) error { return unix.Chroot(".") },
		"user namespace":        func(*scene) error { return fork(unix.CLONE_NEWUSER, func() {}) },
		"mount namespace":       func(*scene) error { return unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS) },
		"network namespace":     func(*scene) error { return unix.Unshare(unix.CLONE_NEWNET) },
		"enter a namespace":     enterNamespace,
		"load a BPF map":        loadMap,
		"perf events":           perf,
		"io_uring":              func(*scene) error { return call(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(new([120]byte)))) },
		"userfaultfd":           func(*scene) error { return call(unix.SYS_USERFAULTFD, 0) },
		"keyring":               func(*scene) error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true); return err },
		"kexec":                 func(*scene) error { return call(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0) },
		"load a kernel module":  func(*scene) error { return notJust(unix.InitModule([]byte("no module"), ""), unix.ENOEXEC) },
		"personality":           func(*scene) error { return call(unix.SYS_PERSONALITY, 0x0040000) },
		"read the kernel's log": func(*scene) error { _, err := unix.Klogctl(unix.SYSLOG_ACTION_SIZE_BUFFER, nil); return err },
		"set the host's name":   setHostname,
		"adjust the clock": func(*scene) error {
			_, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_TAI})
			return notJust(err, unix.EINVAL)
		},
		"install a seccomp filter": func(*scene) error {
			return notJust(call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0), unix.EFAULT)
		},
		"fanotify":       func(*scene) error { _, err := unix.FanotifyInit(unix.FAN_CLOEXEC, 0); return err },
		"become root":    func(*scene) error { return syscall.Setresuid(0, 0, 0) },
		"set its groups": func(*scene) error { return syscall.Setgroups([]int{0}) },
	}
}

func call(number uintptr, args ...uintptr) error {
	var a [4]uintptr
	copy(a[:], args)
	return errnoOf(unix.Syscall6(number, a[0], a[1], a[2], a[3], 0, 0))
}

// notJust forgets an error that says that the call was allowed and its argument wrong.
func notJust(err error, wrong unix.Errno) error {
	if err == wrong { //nolint:errorlint // Both are plain numbers.
		return nil
	}
	return err
}

func mount(s *scene) error {
	if err := unix.Mount("none", s.Own, "tmpfs", 0, ""); err != nil {
		return err
	}
	return unix.Unmount(s.Own, unix.MNT_DETACH)
}

func enterNamespace(*scene) error {
	fd, err := unix.Open("/proc/self/ns/uts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Setns(fd, unix.CLONE_NEWUTS)
}

func loadMap(*scene) error {
	attributes := struct{ kind, key, value, entries, flags uint32 }{2, 4, 4, 1, 0} // an array
	return call(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes))
}

func perf(*scene) error {
	attributes := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK}
	attributes.Size = uint32(unsafe.Sizeof(attributes))
	_, err := unix.PerfEventOpen(&attributes, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	return err
}

func setHostname(*scene) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	return unix.Sethostname([]byte(name))
}

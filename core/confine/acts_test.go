package confine_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An act is something that a driver does.
type act func(*scene) error

// A scene is what the acts find around them; it comes to the driver as JSON.
type scene struct {
	Parent           int // the gateway
	Own              string
	Outside          string // a directory of others, with a file in it
	File             string
	Allowed, Other   string // listening TCP addresses
	Datagrams        string // a listening UDP address
	Socket, Abstract string // listening Unix sockets of another driver
	API              string // of the gateway, as it listens itself
	TTY, OtherTTY    string
	Leaked           int // a descriptor that the gateway forgot to mark
}

func acts() map[string]act {
	all := map[string]act{}
	for _, group := range []map[string]act{fileActs(), execActs(), netActs(), processActs(), kernelActs(), ordinaryActs(), againActs()} {
		for name, a := range group {
			all[name] = a
		}
	}
	return all
}

func open(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0o600)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func errnoOf(_, _ uintptr, errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

func fileActs() map[string]act {
	return map[string]act{
		"read /etc/shadow":              func(s *scene) error { return open("/etc/shadow", unix.O_RDONLY) },
		"list /":                        func(*scene) error { _, err := os.ReadDir("/"); return err },
		"read the gateway's file":       func(s *scene) error { return open(s.File, unix.O_RDONLY) },
		"write the gateway's file":      func(s *scene) error { return open(s.File, unix.O_WRONLY) },
		"create a file outside":         func(s *scene) error { return open(s.Outside+"/new", unix.O_WRONLY|unix.O_CREAT) },
		"empty a file by path":          func(s *scene) error { return unix.Truncate(s.File, 0) },
		"remove a file outside":         func(s *scene) error { return unix.Unlink(s.Outside + "/spare") },
		"rename a file outside":         func(s *scene) error { return unix.Rename(s.File, s.File+"2") },
		"link a file into its own":      func(s *scene) error { return unix.Link(s.File, s.Own+"/link") },
		"symlink to /etc/shadow":        func(s *scene) error { return unix.Symlink("/etc/shadow", s.Own+"/shadow") },
		"make a directory in its own":   func(s *scene) error { return unix.Mkdir(s.Own+"/sub", 0o700) },
		"chmod a file outside":          func(s *scene) error { return unix.Chmod(s.File, 0o644) },
		"chown a file outside":          func(s *scene) error { return unix.Chown(s.File, 0, 0) },
		"touch a file outside":          func(s *scene) error { return os.Chtimes(s.File, time.Time{}, time.Now()) },
		"set an attribute outside":      func(s *scene) error { return unix.Setxattr(s.File, "user.x", []byte("1"), 0) },
		"watch a directory":             watch,
		"make a device node":            func(s *scene) error { return unix.Mknod(s.Own+"/null", unix.S_IFCHR|0o600, 1<<8|3) },
		"open by handle":                byHandle,
		"read /proc/PARENT/environ":     func(s *scene) error { return open(fmt.Sprintf("/proc/%d/environ", s.Parent), unix.O_RDONLY) },
		"open /proc/PARENT/mem":         func(s *scene) error { return open(fmt.Sprintf("/proc/%d/mem", s.Parent), unix.O_RDWR) },
		"open another driver's tty":     func(s *scene) error { return open(s.OtherTTY, unix.O_RDWR) },
		"open its own tty":              func(s *scene) error { return tty(s, unix.TCGETS, new(unix.Termios)) },
		"type on its tty (TIOCSTI)":     func(s *scene) error { return tty(s, unix.TIOCSTI, new(unix.Termios)) },
		"load a line discipline":        func(s *scene) error { return tty(s, unix.TIOCSETD, new(unix.Termios)) },
		"use a descriptor not its own":  func(s *scene) error { return unix.Fstat(s.Leaked, new(unix.Stat_t)) },
		"tell whether a file is there":  func(s *scene) error { return unix.Stat(s.File, new(unix.Stat_t)) },
		"listen on its own unix socket": func(s *scene) error { return listenUnix(s.Own + "/own") },
		"listen on a unix socket elsewhere": func(s *scene) error {
			return listenUnix(s.Outside + "/sock")
		},
	}
}

func tty(s *scene, request uintptr, value *unix.Termios) error {
	fd, err := unix.Open(s.TTY, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errnoOf(unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(value))))
}

func watch(*scene) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	_, err = unix.InotifyAddWatch(fd, "/etc", unix.IN_CREATE)
	return err
}

func byHandle(s *scene) error {
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, s.File, 0)
	if err != nil {
		return err
	}
	dir, err := unix.Open(s.Outside, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.OpenByHandleAt(dir, handle, unix.O_RDONLY)
	return err
}

func listenUnix(path string) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	return l.Close()
}

// execActs become /bin/echo, which then says "allowed" in the driver's place.
func execActs() map[string]act {
	echo := []string{"echo", "allowed"}
	return map[string]act{
		"execute a program": func(*scene) error { return unix.Exec("/bin/echo", echo, nil) },
		"execute itself again": func(*scene) error {
			return unix.Exec("/proc/self/exe", os.Args, []string{envAct + "=breathe", envScene + "={}"})
		},
		"execute its image by descriptor": func(*scene) error {
			fd, err := unix.Open("/proc/self/exe", unix.O_PATH, 0)
			if err != nil {
				return err
			}
			return execFD(fd, os.Args, []string{envAct + "=breathe", envScene + "={}"})
		},
		"execute a memfd": func(*scene) error {
			fd, err := unix.MemfdCreate("evil", 0)
			if err != nil {
				return err
			}
			program, err := os.ReadFile("/bin/echo")
			if err != nil {
				return err
			}
			if _, err := unix.Write(fd, program); err != nil {
				return err
			}
			return execFD(fd, echo, nil)
		},
		"execute a file that it wrote": func(s *scene) error {
			path := filepath.Join(s.Own, "program")
			if err := os.WriteFile(path, []byte("#!/bin/sh\necho allowed\n"), 0o700); err != nil {
				return err
			}
			return unix.Exec(path, []string{path}, nil)
		},
		"start a child process": func(*scene) error { return fork(0, func() {}) },
	}
}

// fork starts a child that does one raw thing and ends.
func fork(flags uintptr, do func()) error {
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD)|flags, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		do()
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	_, err := unix.Wait4(int(pid), nil, 0, nil)
	return err
}

func execFD(fd int, args, env []string) error {
	argv, err := pointers(args)
	if err != nil {
		return err
	}
	envv, err := pointers(env)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(new(byte))),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envv[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}

func pointers(texts []string) ([]*byte, error) {
	var list []*byte
	for _, text := range texts {
		p, err := unix.BytePtrFromString(text)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return append(list, nil), nil
}

func processActs() map[string]act {
	return map[string]act{
		"signal the gateway": func(s *scene) error { return unix.Kill(s.Parent, 0) },
		"signal everybody":   func(*scene) error { return unix.Kill(-1, 0) },
		"signal by pidfd": func(s *scene) error {
			return byPidfd(s, func(fd int) error { return unix.PidfdSendSignal(fd, 0, nil, 0) })
		},
		"signal by a descriptor": signalByDescriptor,
		"signal itself":          func(*scene) error { return unix.Kill(os.Getpid(), 0) },
		"ptrace the gateway": func(s *scene) error {
			return errnoOf(unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(s.Parent), 0, 0, 0, 0))
		},
		"read the gateway's memory": func(s *scene) error {
			var b [8]byte
			local := unix.Iovec{Base: &b[0]}
			local.SetLen(len(b))
			_, err := unix.ProcessVMReadv(s.Parent, []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&b)), Len: 8}}, 0)
			if errors.Is(err, unix.EFAULT) { // it would have been read
				return nil
			}
			return err
		},
		"take the gateway's descriptor": func(s *scene) error {
			return byPidfd(s, func(fd int) error { _, err := unix.PidfdGetfd(fd, 0, 0); return err })
		},
		"limit the gateway": func(s *scene) error {
			return unix.Prlimit(s.Parent, unix.RLIMIT_CORE, nil, new(unix.Rlimit))
		},
		"slow the gateway down":      func(s *scene) error { return unix.Setpriority(unix.PRIO_PROCESS, s.Parent, 0) },
		"move the gateway to a core": func(s *scene) error { return setAffinity(s.Parent) },
		"raise its own limits": func(*scene) error {
			return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
		},
		"leave its session": func(*scene) error {
			return fork(0, func() { unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0) })
		},
		"gain a capability": func(*scene) error {
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			data := [2]unix.CapUserData{{Effective: 1 << unix.CAP_SYS_ADMIN, Permitted: 1 << unix.CAP_SYS_ADMIN}}
			return unix.Capset(&header, &data[0])
		},
		"use a 32-bit call": thirtyTwoBits,
		"share memory (SysV)": func(*scene) error {
			_, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o600)
			return err
		},
		"map shared memory": func(*scene) error {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
			return err
		},
	}
}

func byPidfd(s *scene, do func(fd int) error) error {
	fd, err := unix.PidfdOpen(s.Parent, 0)
	if err != nil {
		return err
	}
	return do(fd)
}

func signalByDescriptor(s *scene) error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	_, err := unix.FcntlInt(uintptr(pipe[0]), unix.F_SETOWN, s.Parent)
	return err
}

func setAffinity(pid int) error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &set); err != nil {
		return err
	}
	return unix.SchedSetaffinity(pid, &set)
}

// ordinaryActs are what a driver does all the time.
func ordinaryActs() map[string]act {
	return map[string]act{
		"breathe": func(*scene) error { return nil },
		"start threads": func(*scene) error {
			done := make(chan struct{})
			for range 20 {
				go func() { runtime.LockOSThread(); done <- struct{}{} }()
			}
			for range 20 {
				<-done
			}
			return nil
		},
		"slack": func(*scene) error {
			slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
			fmt.Println(slack)
			return err
		},
		"args": func(*scene) error { fmt.Printf("%q\n", os.Args); return nil },
		"status": func(*scene) error {
			status, err := os.ReadFile("/proc/self/status")
			fmt.Printf("%s\n", status)
			return err
		},
		"eat memory": func(*scene) error {
			var all [][]byte
			for range 4096 {
				mib := make([]byte, 1<<20)
				for i := 0; i < len(mib); i += 4096 {
					mib[i] = 1
				}
				all = append(all, mib)
			}
			return fmt.Errorf("ate %d MiB", len(all))
		},
		"open many files": func(*scene) error {
			for n := 0; ; n++ {
				if _, err := unix.Dup(0); err != nil {
					fmt.Println(n)
					return err
				}
			}
		},
		"write a large file": func(s *scene) error {
			f, err := os.Create(s.Own + "/large")
			if err != nil {
				return err
			}
			_, err = f.Write(make([]byte, 2<<20))
			return errors.Join(err, f.Close())
		},
		"read a line of standard input": func(*scene) error {
			n, err := os.Stdin.Read(make([]byte, 1))
			if n == 0 && errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("%d bytes, %w", n, err)
		},
	}
}

func portOf(address string) int {
	_, text, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(text)
	return port
}

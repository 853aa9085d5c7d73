package confine

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// errNoFilter says that there is no filter for this architecture.
var errNoFilter = errors.New("there is no filter for this machine's architecture (amd64 and arm64 have one)")

// execRule says what the filter does with an exec.
type execRule uint8

const (
	execAsks  execRule = iota // the image's only, once: somebody must say yes
	execFd                    // the image's descriptor, as often as it likes
	execFiles                 // what Landlock allows
)

// filter is what seccomp lets a process do.
type filter struct {
	network
	Processes int
}

// rules are all of a process's filter, in order: the first that applies to a call
// counts. pid is the process's, which an exec does not change.
func (f *filter) rules(pid, image int, e execRule) []call {
	var rules []call
	for _, name := range strings.Fields(plainCalls) {
		rules = append(rules, allow(name))
	}
	rules = append(rules, f.refusedCalls()...)
	rules = append(rules, f.allowedCalls(uint64(pid))...)
	exec := allow("execveat", is(0, uint64(image)), is(4, unix.AT_EMPTY_PATH))
	switch e {
	case execAsks:
		exec.action = seccomp.ActionUserNotify
		rules = append(rules, exec)
	case execFd:
		rules = append(rules, exec)
	case execFiles:
		rules = append(rules, allow("execve"), allow("execveat"))
	}
	// A library that gets no clone3, whose flags lie in memory where a filter cannot
	// look, uses clone.
	return append(rules,
		call{name: "clone3", action: failing(unix.ENOSYS)},
		call{name: "socket", action: failing(unix.EAFNOSUPPORT)})
}

// assemble makes the filter for an architecture. A name that the architecture does not
// have is left out.
func (f *filter) assemble(info *arch.Info, image int, e execRule) ([]bpf.RawInstruction, error) {
	last := slices.Max(slices.Collect(maps.Keys(info.SyscallNumbers)))
	program := guard(uint32(info.ID), uint32(last))
	for _, rule := range f.rules(os.Getpid(), image, e) {
		if number, ok := info.SyscallNames[rule.name]; ok {
			program = append(program, rule.instructions(uint32(number))...)
		}
	}
	return bpf.Assemble(append(program, bpf.RetConstant{Val: uint32(failing(unix.EPERM))}))
}

func failing(errno unix.Errno) seccomp.Action { return seccomp.ActionErrno | seccomp.Action(errno) }

// guard refuses what the rest of the filter cannot judge. A 32-bit call has other
// numbers, and ends the process. A call newer than the table is answered as by a kernel
// without it, so that libraries use an older one; so are those of x32.
func guard(architecture, lastCall uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: sizeWord},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: architecture, SkipTrue: 1},
		bpf.RetConstant{Val: uint32(seccomp.ActionKillProcess)},
		bpf.LoadAbsolute{Off: offsetNumber, Size: sizeWord},
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: lastCall, SkipTrue: 1},
		bpf.RetConstant{Val: uint32(failing(unix.ENOSYS))},
	}
}

// architecture is that of this process.
func architecture() (*arch.Info, error) {
	info, err := arch.GetInfo("")
	if err != nil || info != arch.X86_64 && info != arch.AARCH64 {
		return nil, errNoFilter
	}
	return info, nil
}

// install puts the filter on the calling thread, and gives the descriptor on which it
// asks, where it does.
func install(program []bpf.RawInstruction, flags uintptr) (asks int, err error) {
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, fmt.Errorf("install the filter: %w", errno)
	}
	return int(fd), nil
}

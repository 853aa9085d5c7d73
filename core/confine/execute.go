package confine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// execute installs the filter, sends the report and becomes the image. It returns
// only where it failed.
func (o *order) execute(report *Report) error {
	call, err := o.prepareExec()
	if err != nil {
		return err
	}
	if err := o.filter(report); err != nil {
		return err
	}
	if err := report.verdict(); err != nil {
		return err
	}
	o.tell(*report)
	return fmt.Errorf("confine: execute the image: %w", call())
}

// prepareExec makes all that the exec needs, so that nothing can fail after the report.
func (o *order) prepareExec() (func() error, error) {
	args, err := syscall.SlicePtrFromStrings(o.Args)
	if err != nil {
		return nil, fmt.Errorf("confine: arguments: %w", err)
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return nil, fmt.Errorf("confine: environment: %w", err)
	}
	empty := new(byte)
	return func() error {
		_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, uintptr(o.Image), uintptr(unsafe.Pointer(empty)),
			uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
		runtime.KeepAlive(args)
		runtime.KeepAlive(env)
		return errno
	}, nil
}

// filter installs the strictest filter that this kernel takes.
func (o *order) filter(report *Report) error {
	info, err := architecture()
	if err != nil {
		report.needs(fmt.Sprintf("seccomp: %v", err))
		return nil
	}
	assemble := func(e execRule) ([]bpf.RawInstruction, error) { return o.Policy.filter().assemble(info, o.Image, e) }
	if o.Policy.executes() {
		return o.filterPlain(report, assemble, execFiles)
	}
	why := errors.New("needs Linux 5.6")
	if canAnswer() {
		program, err := assemble(execAsks)
		if err != nil {
			return fmt.Errorf("confine: seccomp: %w", err)
		}
		if why = o.filterAsking(program); why == nil {
			report.has("seccomp, one exec")
			return nil
		}
	}
	report.lacks(fmt.Sprintf("seccomp, one exec: %v: the process may start its image again", why))
	return o.filterPlain(report, assemble, execFd)
}

func (o *order) filterPlain(report *Report, assemble func(execRule) ([]bpf.RawInstruction, error), e execRule) error {
	program, err := assemble(e)
	if err != nil {
		return fmt.Errorf("confine: seccomp: %w", err)
	}
	if _, err := install(program, 0); err != nil {
		report.needs(fmt.Sprintf("seccomp: %v", err))
		return nil
	}
	report.has("seccomp")
	return nil
}

// canAnswer reports whether the kernel lets a question's answer be "go on", which came one
// version before pidfd_getfd.
func canAnswer() bool {
	_, _, errno := unix.Syscall(unix.SYS_PIDFD_GETFD, ^uintptr(0), 0, 0)
	return errno != unix.ENOSYS
}

// filterAsking installs a filter that asks about the exec of the image, and leaves a
// thread that answers it. Only one filter of a process may ask: where a container
// already has one, it is an error.
func (o *order) filterAsking(program []bpf.RawInstruction) error {
	asks := make(chan int, 1)
	go func() {
		if fd := <-asks; fd >= 0 {
			approve(fd, o.Image)
		}
	}()
	fd, err := install(program, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	asks <- fd
	return err
}

// question and answer are struct seccomp_notif and seccomp_notif_resp of seccomp(2).
type question struct {
	id      uint64
	pid     uint32
	flags   uint32
	call    int32
	arch    uint32
	address uint64
	args    [6]uint64
}

type answer struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// approve answers the questions of the filter until the exec has gone through, which
// ends its thread. The descriptor is closed by that exec too.
func approve(fd, image int) {
	runtime.LockOSThread()
	for {
		var q question
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&q)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return
		}
		a := answer{id: q.id, errno: -int32(unix.EPERM)}
		if int(q.call) == unix.SYS_EXECVEAT && q.args[0] == uint64(image) {
			a = answer{id: q.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&a)))
	}
}

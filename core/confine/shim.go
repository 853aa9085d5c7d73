package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// exitCode is the shim's where it could not become the driver, as a shell's is for a
// command that cannot be executed.
const exitCode = 126

// Main is the shim. It returns at once where this process is not one, and never
// where it is. It must be the first call of main.
func Main() {
	if len(os.Args) != 2 || os.Args[0] != shimName {
		return
	}
	// Landlock, capabilities and seccomp are a thread's own; the exec keeps those of
	// the thread that calls it.
	runtime.LockOSThread()
	err := becomeImage(os.Args[1])
	fmt.Fprintln(os.Stderr, err) // the last line of a failed start
	os.Exit(exitCode)
}

// readOrder reads the order from a descriptor.
func readOrder(number string) (o order, err error) {
	fd, err := strconv.Atoi(number)
	if err != nil {
		return o, err
	}
	file := os.NewFile(uintptr(fd), "order")
	if file == nil {
		return o, fmt.Errorf("there is no descriptor %d", fd)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxOrder))
	if err = errors.Join(err, file.Close()); err != nil {
		return o, err
	}
	return o, json.Unmarshal(text, &o)
}

// becomeImage returns only where it failed.
func becomeImage(number string) error {
	o, err := readOrder(number)
	if err != nil {
		return fmt.Errorf("confine: the shim's order: %w", err)
	}
	report := o.Found
	image := os.NewFile(uintptr(o.Image), "image")
	defer runtime.KeepAlive(image) // its finalizer would close the descriptor
	run := o.runConfined
	if o.Policy.Mode == Off {
		run = o.runPlain
	}
	err = run(image, &report)
	report.Fault = err.Error()
	o.tell(report)
	return err
}

func (o *order) runConfined(image *os.File, report *Report) error {
	if err := o.confine(image, report); err != nil {
		return err
	}
	if err := o.await(); err != nil {
		return err
	}
	return o.execute(report)
}

// runPlain executes the image as it is. The exec goes through package syscall, which
// gives the image the limits back that the Go runtime has raised.
func (o *order) runPlain(_ *os.File, report *Report) error {
	for _, own := range []int{o.Report, o.Gate} {
		if _, err := unix.FcntlInt(uintptr(own), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return fmt.Errorf("confine: close descriptor %d: %w", own, err)
		}
	}
	if err := o.await(); err != nil {
		return err
	}
	o.tell(*report)
	err := syscall.Exec("/proc/self/fd/"+strconv.Itoa(o.Image), o.Args, os.Environ())
	return fmt.Errorf("confine: execute the image: %w", err)
}

// errGivenUp is why a shim ends whose gateway has died, or has given the start up.
var errGivenUp = errors.New("confine: the gateway gave the start up")

// await waits until the gateway says that the image may run.
func (o *order) await() error {
	var word [1]byte
	for {
		n, err := unix.Read(o.Gate, word[:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("confine: wait for the gateway: %w", err)
		case n == 0 || word[0] != goOn:
			return errGivenUp
		default:
			return nil
		}
	}
}

// confine applies all but the filter. The steps and their order are explained in the
// package comment.
func (o *order) confine(image *os.File, report *Report) error {
	script := interpreter(image) != ""
	if err := o.closeOnExec(script); err != nil {
		return err
	}
	unix.Umask(0o077)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		report.needs(fmt.Sprintf("no-new-privs: %v", err))
	} else {
		report.has("no-new-privs")
	}
	if err := o.Policy.landlock().apply(image, report); err != nil {
		return err
	}
	bounding := dropBounding()
	if err := o.changeIdentity(report); err != nil {
		return err
	}
	if err := errors.Join(bounding, dropCapabilities()); err != nil {
		report.needs(fmt.Sprintf("capabilities: %v", err))
	} else {
		report.has("capabilities dropped")
	}
	return o.Policy.limits().apply(report)
}

// changeIdentity keeps, over the change of the user which clears it, the signal that the
// kernel sends when whoever started this process dies. If that is dead already, the word
// to go on does not come.
func (o *order) changeIdentity(report *Report) error {
	var signal int32
	if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0); err != nil {
		return fmt.Errorf("confine: signal of the gateway's death: %w", err)
	}
	if err := o.Policy.identity().become(report); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(signal), 0, 0, 0); err != nil {
		return fmt.Errorf("confine: signal of the gateway's death: %w", err)
	}
	return nil
}

// closeOnExec marks every descriptor that is not the image's to inherit. A script is
// opened once more, by its interpreter, so that its descriptor stays.
func (o *order) closeOnExec(script bool) error {
	if err := unix.CloseRange(firstExtra, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		if err := closeEach(); err != nil {
			return fmt.Errorf("confine: close descriptors: %w", err)
		}
	}
	kept := o.Image
	if script {
		kept++
	}
	for fd := firstExtra; fd < kept; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("confine: keep descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// closeEach is for kernels before 5.11, which cannot mark a range.
func closeEach() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for fd := firstExtra; fd < int(min(limit.Cur, 1<<20)); fd++ {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC) // most are not open
	}
	return nil
}

// tell sends a report. Where nobody reads any more, the start is over anyway.
func (o *order) tell(report Report) {
	if line, err := json.Marshal(report); err == nil {
		_, _ = unix.Write(o.Report, append(line, '\n'))
	}
}

package confine

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"

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
	err := becomeImage([]byte(os.Args[1]))
	fmt.Fprintln(os.Stderr, err) // the last line of a failed start
	os.Exit(exitCode)
}

// becomeImage returns only where it failed.
func becomeImage(text []byte) error {
	var o order
	if err := json.Unmarshal(text, &o); err != nil {
		return fmt.Errorf("confine: the shim's order: %w", err)
	}
	report := o.Found
	image := os.NewFile(uintptr(o.Image), "image")
	defer runtime.KeepAlive(image) // its finalizer would close the descriptor
	err := o.confine(image, &report)
	if err == nil {
		err = o.execute(&report)
	}
	report.Fault = err.Error()
	o.tell(report)
	return err
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
	if err := o.Policy.restrictFiles(image, report); err != nil {
		return err
	}
	if err := o.Policy.changeIdentity(report); err != nil {
		return err
	}
	if err := dropCapabilities(); err != nil {
		report.needs(fmt.Sprintf("capabilities: %v", err))
	} else {
		report.has("capabilities dropped")
	}
	return o.Policy.limitResources(report)
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

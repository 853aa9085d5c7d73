package confine_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/confine"
)

// againActs are those of a gateway that is confined itself.
func againActs() map[string]act {
	return map[string]act{
		"confine again, required":    func(*scene) error { return again(confine.Required) },
		"confine again, best effort": func(*scene) error { return again(confine.BestEffort) },
		"confine below a listener":   belowListener,
		"ask for a group": func(*scene) error {
			dir, err := confine.Delegated()
			if err == nil {
				fmt.Println("group", dir)
			}
			return err
		},
	}
}

func again(mode confine.Mode) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{envAct + "=breathe", envScene + "={}"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	image, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	pending, err := confine.Policy{Mode: mode, Read: []string{"/"}}.Prepare(cmd, image)
	if err != nil {
		return err
	}
	err = cmd.Start()
	pending.Started(err)
	if err != nil {
		return err
	}
	report, fault := pending.Report()
	_ = cmd.Wait()
	fmt.Println(&report)
	fmt.Println(out.String())
	return fault
}

// belowListener gives this thread, and so the process that it starts, a filter that
// asks somebody, as a container's may.
func belowListener(*scene) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	all := unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW}
	prog := unix.SockFprog{Len: 1, Filter: &all}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return again(confine.Required)
}

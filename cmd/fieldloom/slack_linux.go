package main

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// timerSlack is how late a timer of the gateway and its drivers may fire so that the kernel can
// join wake-ups, nanoseconds. Slots are 50 ms; a millisecond does not show in them. The
// kernel's default of 50 us costs a process that wakes twenty times a second a quarter of its
// CPU, in the Go runtime's monitor thread alone (docs/adr/0004-wake-ups.md).
const timerSlack = 1_000_000

// joinWakeUps gives the process the slack. A thread's slack is its own and is passed
// on to the threads and processes that it starts, and over an exec. The runtime's
// monitor thread is there before main, so the program starts itself anew, once;
// where the kernel refuses, the gateway runs all the same and costs more.
func joinWakeUps() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	have, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || have >= timerSlack {
		return
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0); err != nil {
		return
	}
	if have, err = unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || have < timerSlack {
		return
	}
	_ = syscall.Exec("/proc/self/exe", os.Args, os.Environ()) // returns only where it failed
}

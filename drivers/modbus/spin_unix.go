//go:build unix

package modbus

import "syscall"

// readOnce reads what is there; again: nothing is, yet.
func readOnce(fd uintptr, b []byte) (n int, again bool) {
	n, err := syscall.Read(int(fd), b)
	return n, err == syscall.EAGAIN || err == syscall.EINTR
}

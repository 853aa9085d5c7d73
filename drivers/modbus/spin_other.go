//go:build !unix

package modbus

// readOnce reads nothing: the reader sleeps at once.
func readOnce(uintptr, []byte) (n int, again bool) { return 0, false }

package carrier

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The flags of struct serial_rs485, see include/uapi/linux/serial.h.
const (
	rs485Enabled         = 1 << 0
	rs485RTSOnSend       = 1 << 1
	rs485RTSAfterSend    = 1 << 2
	rs485ReceiveWhileOwn = 1 << 4
)

// rs485Config is struct serial_rs485: flags, delays in ms, and what later kernels put behind.
type rs485Config struct {
	flags       uint32
	delayBefore uint32
	delayAfter  uint32
	_           [5]uint32
}

// setRS485 has the port's driver switch the transceiver by RTS.
func setRS485(fd int, s *RS485) error {
	c := rs485Config{flags: rs485Enabled | rs485RTSAfterSend, delayBefore: millis(s.DelayBefore), delayAfter: millis(s.DelayAfter)}
	if s.RTSOnSend != low {
		c.flags = rs485Enabled | rs485RTSOnSend
	}
	if s.Receive {
		c.flags |= rs485ReceiveWhileOwn
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSRS485, uintptr(unsafe.Pointer(&c)))
	if errno != 0 {
		return errno
	}
	return nil
}

package serial

import (
	"golang.org/x/sys/unix"
)

// parities are the flags of the words that a link may have; see termios(3).
var parities = map[string]uint32{
	"none": 0, "odd": unix.PARENB | unix.PARODD, "even": unix.PARENB,
	"mark": unix.PARENB | unix.PARODD | unix.CMSPAR, "space": unix.PARENB | unix.CMSPAR,
}

var dataBits = map[int]uint32{5: unix.CS5, 6: unix.CS6, 7: unix.CS7, 8: unix.CS8}

// setMode sets baud rate and framing, and has the port pass bytes on as they are. The
// rate is a number and need not be one of the usual ones.
func setMode(fd int, set *linkSettings) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return err
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.IGNPAR | unix.PARMRK | unix.INPCK | unix.ISTRIP |
		unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IUCLC | unix.IXON | unix.IXANY | unix.IXOFF
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHONL | unix.ECHOCTL | unix.ECHOPRT | unix.ECHOKE |
		unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag &^= unix.CBAUD | unix.CIBAUD | unix.CSIZE | unix.CSTOPB | unix.PARENB | unix.PARODD | unix.CMSPAR | unix.CRTSCTS
	t.Cflag |= unix.CREAD | unix.CLOCAL | unix.BOTHER | dataBits[set.DataBits] | parities[set.Parity]
	if set.StopBits == 2 {
		t.Cflag |= unix.CSTOPB
	}
	if set.Parity != "none" {
		t.Iflag |= unix.INPCK
	}
	t.Ispeed, t.Ospeed = uint32(set.Baud), uint32(set.Baud)
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS2, t)
}

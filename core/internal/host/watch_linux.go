package host

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watchEvery is how often files are looked at where the kernel gives no inotify:
// it allows 128 of them to a user by default.
const watchEvery = 250 * time.Millisecond

// watch tells that files may have been written to.
type watch struct {
	events *os.File // nil: there is no inotify
	stop   chan struct{}
}

func newWatch(paths ...string) *watch {
	w := &watch{stop: make(chan struct{})}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return w
	}
	for _, path := range paths {
		if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY|unix.IN_MOVED_TO); err != nil {
			_ = unix.Close(fd)
			return w
		}
	}
	w.events = os.NewFile(uintptr(fd), "inotify")
	return w
}

// run pulses wakes until close.
func (w *watch) run(wakes ...chan<- struct{}) {
	buffer := make([]byte, 4<<10)
	events := w.events
	for {
		if events == nil {
			select {
			case <-time.After(watchEvery):
			case <-w.stop:
				return
			}
		} else if _, err := events.Read(buffer); errors.Is(err, os.ErrClosed) {
			return
		} else if err != nil {
			events = nil // go on without
		}
		for _, wake := range wakes {
			pulse(wake)
		}
	}
}

func (w *watch) close() {
	close(w.stop)
	if w.events != nil {
		_ = w.events.Close()
	}
}

// pulse wakes whoever waits at c; one that is awake already stays so.
func pulse(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

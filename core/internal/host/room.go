package host

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Room bounds the directory of a process by a file system of its own, where this process
// may mount one. The zero value does not.
type Room struct {
	Bytes int64
	Files int
}

// mount mounts the room on a new directory, and reports whether it did. Without the right to
// mount, or in a mount namespace that a restarted core would not find again, it does not.
func (r Room) mount(dir string) bool {
	if r.Bytes <= 0 || os.Geteuid() != 0 || !inFirstNamespace() {
		return false
	}
	options := fmt.Sprintf("size=%d,nr_inodes=%d,mode=0700", r.Bytes, r.Files)
	return unix.Mount("fieldloom", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_NOATIME, options) == nil
}

// inFirstNamespace reports whether the mounts of this process are those of the machine, or of
// the container: a service manager may give each start of a service its own.
func inFirstNamespace() bool {
	own, err := os.Readlink("/proc/self/ns/mnt")
	first, firstErr := os.Readlink("/proc/1/ns/mnt")
	return err == nil && firstErr == nil && own == first
}

// unmount takes away what mount has put on a directory; where there is nothing it does nothing.
func unmount(dir string) {
	_ = unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // not a mount, or not allowed: then there was none
}

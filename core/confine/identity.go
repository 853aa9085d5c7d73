package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// identity is whom a process runs as, where UID is not 0; otherwise it stays the gateway's
// user.
type identity struct {
	UID, GID int
	groups   []int // with GID
}

// giveRunDir makes the socket directory the other user's, and proves that it can be
// reached: a shim that has changed its user could only say "permission denied".
func (i *identity) giveRunDir(run string) error {
	if run == "" || i.UID == 0 || os.Geteuid() != 0 {
		return nil
	}
	if err := os.Chown(run, i.UID, i.GID); err != nil {
		return fmt.Errorf("confine: give the socket directory to user %d: %w", i.UID, err)
	}
	for dir := filepath.Dir(run); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("confine: socket directory: %w", err)
		}
		if !i.searches(info) {
			return fmt.Errorf("confine: directory %s cannot be entered by user %d, whose socket is to be below it: "+
				"choose another run directory, or give it the mode 0711", dir, i.UID)
		}
		if dir == "/" || dir == "." {
			return nil
		}
	}
}

// searches reports whether the user may pass through a directory.
func (i *identity) searches(info os.FileInfo) bool {
	mode := info.Mode().Perm()
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		switch {
		case int(s.Uid) == i.UID:
			return mode&0o100 != 0
		case int(s.Gid) == i.GID:
			return mode&0o010 != 0
		}
	}
	return mode&0o001 != 0
}

// become gives up the gateway's user and groups where another is asked for.
func (i *identity) become(report *Report) error {
	if i.UID == 0 {
		return nil
	}
	// By system calls, because Go's functions change every thread, by signals.
	var groups []uint32
	for _, group := range i.groups {
		groups = append(groups, uint32(group))
	}
	_, _, errno := unix.Syscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0)
	if errno == unix.EPERM {
		report.needs(fmt.Sprintf("uid %d: the gateway is not root", i.UID))
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("confine: drop groups: %w", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SETRESGID, uintptr(i.GID), uintptr(i.GID), uintptr(i.GID)); errno != 0 {
		return fmt.Errorf("confine: become group %d: %w", i.GID, errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SETRESUID, uintptr(i.UID), uintptr(i.UID), uintptr(i.UID)); errno != 0 {
		return fmt.Errorf("confine: become user %d: %w", i.UID, errno)
	}
	report.has(fmt.Sprintf("uid %d", i.UID))
	return nil
}

// GroupsOf are the groups that a process is in; see proc(5).
func GroupsOf(pid int) ([]int, error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return nil, fmt.Errorf("confine: groups of process %d: %w", pid, err)
	}
	var groups []int
	for line := range strings.Lines(string(status)) {
		list, ok := strings.CutPrefix(line, "Groups:")
		if own, isOwn := strings.CutPrefix(line, "Gid:"); isOwn {
			list, ok = own, true
		}
		for _, word := range strings.Fields(list) {
			group, err := strconv.Atoi(word)
			if ok && err == nil {
				groups = append(groups, group)
			}
		}
	}
	return groups, nil
}

// lastCapability is as many as the kernel's interface has room for.
const lastCapability = 63

// dropBounding empties the bounding set, out of which an executable with capabilities could
// give some back. That takes a capability, which is lost with root's user: so it comes
// before the change of the user. Who has none to do it with cannot gain any either, because of no_new_privs.
func dropBounding() error {
	for c := range lastCapability + 1 {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		switch {
		case errors.Is(err, unix.EINVAL): // this kernel does not have it
		case errors.Is(err, unix.EPERM) && !may(unix.CAP_SETPCAP):
			return nil
		case err != nil:
			return fmt.Errorf("bounding set: %w", err)
		}
	}
	return nil
}

// may reports whether a capability is in force for this thread.
func may(capability uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	err := unix.Capget(&header, &have[0])
	return err == nil && have[capability/32].Effective&(1<<(capability%32)) != 0
}

// dropCapabilities empties every set but the bounding one.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have, none [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err == nil && have == none {
		return nil // as without root, and in a container that lets nobody set them
	}
	err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return unix.Capset(&header, &none[0])
}

package confine

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// User sets whom the process runs as: a name, or "UID:GID". An empty name is nobody
// else than the gateway.
func (p *Policy) User(name string) error {
	if name == "" {
		return nil
	}
	var uid, gid int
	if n, err := fmt.Sscanf(name, "%d:%d", &uid, &gid); err != nil || n != 2 {
		found, err := user.Lookup(name)
		if err != nil {
			return fmt.Errorf("confine: user %q: %w", name, err)
		}
		uid, err = strconv.Atoi(found.Uid)
		if err != nil {
			return fmt.Errorf("confine: user %q: %w", name, err)
		}
		if gid, err = strconv.Atoi(found.Gid); err != nil {
			return fmt.Errorf("confine: user %q: %w", name, err)
		}
	}
	if uid <= 0 || gid <= 0 {
		return fmt.Errorf("confine: user %q is root, or in root's group: choose another", name)
	}
	p.UID, p.GID = uid, gid
	return nil
}

// changeIdentity gives up the gateway's user and groups where another is asked for.
func (p *Policy) changeIdentity(report *Report) error {
	if p.UID == 0 {
		return nil
	}
	// By system calls, because Go's functions change every thread, by signals.
	var groups []uint32
	for _, group := range p.AllGroups() {
		groups = append(groups, uint32(group))
	}
	_, _, errno := unix.Syscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0)
	if errno == unix.EPERM {
		report.needs(fmt.Sprintf("uid %d: the gateway is not root", p.UID))
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("confine: drop groups: %w", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SETRESGID, uintptr(p.GID), uintptr(p.GID), uintptr(p.GID)); errno != 0 {
		return fmt.Errorf("confine: become group %d: %w", p.GID, errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SETRESUID, uintptr(p.UID), uintptr(p.UID), uintptr(p.UID)); errno != 0 {
		return fmt.Errorf("confine: become user %d: %w", p.UID, errno)
	}
	report.has(fmt.Sprintf("uid %d", p.UID))
	return nil
}

// AllGroups are the groups of a process that is started now and has a user of its own: the
// user's, those asked for, and of each device the group that it is shared with (dialout, in
// most places), except root's.
func (p *Policy) AllGroups() []int {
	groups := append([]int{p.GID}, p.Groups...)
	for _, path := range p.Devices {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		s, ok := info.Sys().(*syscall.Stat_t)
		if ok && s.Gid != 0 && info.Mode().Perm()&0o060 == 0o060 {
			groups = append(groups, int(s.Gid))
		}
	}
	return groups
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

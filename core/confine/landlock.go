package confine

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock is used by its system calls. What a library adds is to restrict every
// thread of a running program, by signals; the shim needs only the one that becomes
// the driver.

// What each version of Landlock brought, as far as it is used here.
const (
	abiFiles  = 1
	abiRefer  = 2
	abiTrunc  = 3
	abiTCP    = 4
	abiIoctl  = 5
	abiScopes = 6
	abiUnix   = 9
	abiUDP    = 10
)

const ruleNetPort = 2 // LANDLOCK_RULE_NET_PORT

type netPortRule struct {
	access uint64
	port   uint64
}

// landlockABI is the version in force.
func landlockABI() (int, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
		return int(abi), nil
	case unix.ENOSYS:
		return 0, errors.New("this kernel has none (5.13 and later can)")
	case unix.EOPNOTSUPP:
		return 0, errors.New("it is not enabled: add landlock to the kernel's parameter lsm=")
	}
	return 0, errno
}

// handled are the rights of a version; what is handled and not granted is refused.
func handled(abi int) unix.LandlockRulesetAttr {
	const first = unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1 // the rights of version 1
	attributes := unix.LandlockRulesetAttr{Handled_access_fs: first}
	if abi >= abiRefer {
		attributes.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= abiTrunc {
		attributes.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= abiTCP {
		attributes.Handled_access_net |= unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= abiIoctl {
		attributes.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= abiScopes {
		attributes.Scoped |= unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	if abi >= abiUnix {
		attributes.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
	}
	if abi >= abiUDP {
		attributes.Handled_access_net |= unix.LANDLOCK_ACCESS_NET_BIND_UDP | unix.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP
	}
	return attributes
}

// A ruleset is Landlock's, while it is filled. Rights that it does not handle, because
// the version does not know them, are left out of its rules.
type ruleset struct {
	fd      int
	handled unix.LandlockRulesetAttr
}

func newRuleset(attributes unix.LandlockRulesetAttr) (*ruleset, error) {
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes), 0)
	if errno != 0 {
		return nil, fmt.Errorf("make a ruleset: %w", errno)
	}
	return &ruleset{fd: int(fd), handled: attributes}, nil
}

// path grants rights on what is at a path now, and, where it is a directory, below it.
func (r *ruleset) path(rights uint64, path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("path %s: %w", path, err)
	}
	defer unix.Close(fd)
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights & r.handled.Handled_access_fs, Parent_fd: int32(fd)}
	if err := r.add(unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&rule)); err != nil {
		return fmt.Errorf("path %s: %w", path, err)
	}
	return nil
}

// port grants rights on a port; where the version knows no ports there is nothing to grant.
func (r *ruleset) port(rights uint64, port uint16) error {
	rule := netPortRule{access: rights & r.handled.Handled_access_net, port: uint64(port)}
	if rule.access == 0 {
		return nil
	}
	if err := r.add(ruleNetPort, unsafe.Pointer(&rule)); err != nil {
		return fmt.Errorf("port %d: %w", port, err)
	}
	return nil
}

func (r *ruleset) add(kind uintptr, rule unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd), kind, uintptr(rule), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("add a rule: %w", errno)
	}
	return nil
}

// restrict puts the calling thread, and what it executes, under the rules.
func (r *ruleset) restrict() error {
	defer unix.Close(r.fd)
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(r.fd), 0, 0)
	if errno != 0 {
		return fmt.Errorf("restrict the process: %w", errno)
	}
	return nil
}

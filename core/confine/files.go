package confine

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What a kind of path may be used for. On a single file, rights that only a directory
// has do not apply: fileRights are those that do.
const (
	readRights    = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	executeRights = readRights | unix.LANDLOCK_ACCESS_FS_EXECUTE
	nullRights    = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	deviceRights  = nullRights | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	writeRights   = readRights | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR
	// socketRights are for the private directory: go-plugin's server makes a file to find
	// a free name, removes it, and listens there. Directories are nobody's need, and the
	// gateway, which removes what a driver leaves, would have to find its way down there.
	socketRights = writeRights&^(unix.LANDLOCK_ACCESS_FS_MAKE_DIR|unix.LANDLOCK_ACCESS_FS_REMOVE_DIR) | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK
	fileRights   = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// landlock is what Landlock grants a process: paths and ports, and what it cannot refuse.
type landlock struct {
	network
	Read, Write, Execute, Devices []string
	RunDir                        string
	Processes                     int
}

// apply applies Landlock: files, TCP ports, and the scopes that keep signals
// and abstract sockets within the process.
func (l *landlock) apply(image *os.File, report *Report) error {
	loaders, err := loaders(image)
	if err != nil {
		return err
	}
	abi, err := landlockABI()
	if err != nil {
		report.needs(fmt.Sprintf("landlock: %v", err))
		return nil
	}
	rules, err := newRuleset(l.handled(abi))
	if err == nil {
		err = errors.Join(l.addPaths(rules, report), addImage(rules, image, loaders), l.addPorts(rules))
	}
	if err == nil {
		err = rules.restrict()
	}
	if err != nil {
		return fmt.Errorf("confine: landlock: %w", err)
	}
	report.has(fmt.Sprintf("landlock abi %d: %s", abi, strings.Join(l.words(abi), ", ")))
	l.gaps(abi, report)
	return nil
}

// handled is what the policy leaves to Landlock: any TCP or UDP port, and any Unix socket,
// are said by not handling them.
func (l *landlock) handled(abi int) unix.LandlockRulesetAttr {
	attributes := handled(abi)
	if l.TCP {
		attributes.Handled_access_net &^= unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if l.UDP {
		attributes.Handled_access_net &^= unix.LANDLOCK_ACCESS_NET_BIND_UDP | unix.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP
	}
	if l.Unix {
		attributes.Handled_access_fs &^= unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
		attributes.Scoped &^= unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	return attributes
}

func (l *landlock) words(abi int) []string {
	words := []string{"files"}
	if abi >= abiTCP && !l.TCP {
		words = append(words, "tcp")
	}
	if abi >= abiIoctl {
		words = append(words, "device ioctl")
	}
	if abi >= abiScopes {
		words = append(words, "signals")
		if !l.Unix {
			words = append(words, "abstract sockets")
		}
	}
	if abi >= abiUnix && !l.Unix {
		words = append(words, "unix sockets")
	}
	if abi >= abiUDP && !l.UDP {
		words = append(words, "udp")
	}
	return words
}

// gaps reports what this version cannot refuse, where the filter does not
// refuse it either.
func (l *landlock) gaps(abi int, report *Report) {
	l.openRights(report)
	if abi < abiTCP && l.tcp() {
		report.needs(fmt.Sprintf("tcp ports: landlock abi %d, needs %d: every tcp port can be reached", abi, abiTCP))
	}
	if abi < abiTrunc && len(l.Read) > 0 {
		report.lacks(fmt.Sprintf("truncation: landlock abi %d, needs %d: a file that may be read may be emptied", abi, abiTrunc))
	}
	if abi < abiScopes && l.Processes > 0 {
		report.lacks(fmt.Sprintf("signals: landlock abi %d, needs %d", abi, abiScopes))
	}
	if l.Unix || !l.connects() {
		return
	}
	if abi < abiScopes {
		report.lacks(fmt.Sprintf("abstract unix sockets: landlock abi %d, needs %d", abi, abiScopes))
	}
	if abi < abiUnix {
		report.lacks(fmt.Sprintf("unix sockets by path: landlock abi %d, needs %d: only the modes of their files protect them", abi, abiUnix))
	}
	if abi < abiUDP && l.udp() && !l.UDP {
		report.lacks(fmt.Sprintf("udp ports: landlock abi %d, needs %d: every udp port can be reached", abi, abiUDP))
	}
}

// openRights reports what the policy allows without a bound: no kernel refuses it.
func (l *landlock) openRights(report *Report) {
	for _, open := range []struct {
		is   bool
		what string
	}{
		{l.TCP, "tcp ports: every one is allowed: a link names a host without a port, and the package does not say which it means"},
		{l.UDP, "udp ports: every one is allowed: the package asks for all"},
		{l.Unix, "unix sockets: every one is allowed: the package asks for all"},
	} {
		if open.is {
			report.lacks(open.what)
		}
	}
}

// addPaths grants the paths, and notes for the report which files the rights
// are on. What is not there is reported, and not granted.
func (l *landlock) addPaths(rules *ruleset, report *Report) error {
	for _, kind := range []struct {
		rights uint64
		paths  []string
	}{{readRights, l.Read}, {writeRights, l.Write}, {executeRights, l.Execute}, {deviceRights, l.Devices}} {
		for _, path := range kind.paths {
			info, err := os.Stat(path)
			if err != nil {
				report.Granted = append(report.Granted, Granted{Path: path})
				report.lacks(fmt.Sprintf("path %s: %v", path, errors.Unwrap(err)))
				continue
			}
			rights := kind.rights
			if !info.IsDir() {
				rights &= fileRights
				report.Granted = append(report.Granted, look(path))
			}
			if err := rules.path(rights, path); err != nil {
				return err
			}
		}
	}
	if err := rules.path(nullRights, os.DevNull); err != nil { // every runtime opens it
		return err
	}
	if l.RunDir == "" {
		return nil
	}
	return rules.path(socketRights, l.RunDir)
}

// addImage grants what the exec itself needs. The image needs a right only where it is
// a file: a memfd lies outside of what Landlock looks at.
func addImage(rules *ruleset, image *os.File, loaders []string) error {
	path := "/proc/self/fd/" + strconv.Itoa(int(image.Fd()))
	if name, err := os.Readlink(path); err == nil && !strings.HasPrefix(name, "/memfd:") {
		loaders = append(slices.Clone(loaders), path)
	}
	for _, path := range loaders {
		if err := rules.path(executeRights&fileRights, path); err != nil {
			return err
		}
	}
	return nil
}

func (l *landlock) addPorts(rules *ruleset) error {
	for _, kind := range []struct {
		rights uint64
		ports  []uint16
	}{
		{unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, l.ConnectTCP},
		{unix.LANDLOCK_ACCESS_NET_BIND_TCP, l.BindTCP},
		{unix.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP, l.ConnectUDP},
	} {
		for _, port := range kind.ports {
			if err := rules.port(kind.rights, port); err != nil {
				return err
			}
		}
	}
	if len(l.ConnectUDP) == 0 {
		return nil
	}
	return rules.port(unix.LANDLOCK_ACCESS_NET_BIND_UDP, 0) // any free port, to send from
}

package confine

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// What a kind of path may be used for; on a single file, rights that only a
// directory has do not apply.
const (
	readRights    = landlock.AccessFSSet(ll.AccessFSReadFile | ll.AccessFSReadDir)
	executeRights = readRights | ll.AccessFSExecute
	deviceRights  = landlock.AccessFSSet(ll.AccessFSReadFile | ll.AccessFSWriteFile | ll.AccessFSIoctlDev)
	writeRights   = readRights | ll.AccessFSWriteFile | ll.AccessFSTruncate |
		ll.AccessFSMakeReg | ll.AccessFSMakeDir | ll.AccessFSRemoveFile | ll.AccessFSRemoveDir
	// socketRights are for the private directory: go-plugin's server makes a file to find
	// a free name, removes it, and listens there.
	socketRights = writeRights | ll.AccessFSMakeSock
	fileRights   = landlock.AccessFSSet(ll.AccessFSExecute | ll.AccessFSWriteFile | ll.AccessFSReadFile |
		ll.AccessFSTruncate | ll.AccessFSIoctlDev)
)

// What each version of Landlock brought, as far as it is used here.
const (
	abiFiles  = 1
	abiTrunc  = 3
	abiTCP    = 4
	abiIoctl  = 5
	abiScopes = 6
	abiUnix   = 9
	abiUDP    = 10
)

// restrictFiles applies Landlock: files, TCP ports, and the scopes that keep signals
// and abstract sockets within the process.
func (p *Policy) restrictFiles(image *os.File, report *Report) error {
	loaders, err := loaders(image)
	if err != nil {
		return err
	}
	abi, err := landlockABI()
	if err != nil {
		report.needs(fmt.Sprintf("landlock: %v", err))
		return nil
	}
	config := landlock.V11
	if p.UDP { // any port: there is no rule that says so
		config.HandledAccessNet &^= ll.AccessNetBindUDP | ll.AccessNetConnectSendUDP
	}
	if p.Unix {
		config.HandledAccessFS &^= ll.AccessFSResolveUnix
		config.Scoped &^= ll.ScopeAbstractUnixSocket
	}
	rules := slices.Concat(p.fileRules(image, report), p.portRules())
	if len(loaders) > 0 {
		rules = append(rules, landlock.PathAccess(executeRights&fileRights, loaders...))
	}
	if err := config.BestEffort().Restrict(rules...); err != nil {
		return fmt.Errorf("confine: landlock: %w", err)
	}
	report.has(fmt.Sprintf("landlock abi %d: %s", abi, strings.Join(p.landlockWords(abi), ", ")))
	p.landlockGaps(abi, report)
	return nil
}

// landlockABI is the version in force, by the reckoning of the library: before its
// erratum 2 was fixed, version 6 was not usable by programs with threads.
func landlockABI() (int, error) {
	abi, err := ll.LandlockGetABIVersion()
	switch {
	case errors.Is(err, unix.ENOSYS):
		return 0, errors.New("this kernel has none (5.13 and later can)")
	case errors.Is(err, unix.EOPNOTSUPP):
		return 0, errors.New("it is not enabled: add landlock to the kernel's parameter lsm=")
	case err != nil:
		return 0, err
	}
	if abi >= abiScopes {
		if errata, err := ll.LandlockGetErrata(); err != nil || errata&2 == 0 {
			abi = abiScopes - 1
		}
	}
	return abi, nil
}

func (p *Policy) landlockWords(abi int) []string {
	words := []string{"files"}
	if abi >= abiTCP {
		words = append(words, "tcp")
	}
	if abi >= abiIoctl {
		words = append(words, "device ioctl")
	}
	if abi >= abiScopes {
		words = append(words, "signals")
		if !p.Unix {
			words = append(words, "abstract sockets")
		}
	}
	if abi >= abiUnix && !p.Unix {
		words = append(words, "unix sockets")
	}
	if abi >= abiUDP && !p.UDP {
		words = append(words, "udp")
	}
	return words
}

// landlockGaps reports what this version cannot refuse, where the filter does not
// refuse it either.
func (p *Policy) landlockGaps(abi int, report *Report) {
	if abi < abiTCP && p.tcp() {
		report.needs(fmt.Sprintf("tcp ports: landlock abi %d, needs %d: every tcp port can be reached", abi, abiTCP))
	}
	if abi < abiTrunc && len(p.Read) > 0 {
		report.lacks(fmt.Sprintf("truncation: landlock abi %d, needs %d: a file that may be read may be emptied", abi, abiTrunc))
	}
	if abi < abiScopes && p.Processes > 0 {
		report.lacks(fmt.Sprintf("signals: landlock abi %d, needs %d", abi, abiScopes))
	}
	if p.Unix || !p.connects() {
		return
	}
	if abi < abiScopes {
		report.lacks(fmt.Sprintf("abstract unix sockets: landlock abi %d, needs %d", abi, abiScopes))
	}
	if abi < abiUnix {
		report.lacks(fmt.Sprintf("unix sockets by path: landlock abi %d, needs %d: only the modes of their files protect them", abi, abiUnix))
	}
	if abi < abiUDP && p.udp() && !p.UDP {
		report.lacks(fmt.Sprintf("udp ports: landlock abi %d, needs %d: every udp port can be reached", abi, abiUDP))
	}
}

// fileRules makes the rules, and notes for the report which files they hold on to.
func (p *Policy) fileRules(image *os.File, report *Report) []landlock.Rule {
	var rules []landlock.Rule
	add := func(rights landlock.AccessFSSet, paths ...string) {
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				report.Granted = append(report.Granted, Granted{Path: path})
				report.lacks(fmt.Sprintf("path %s: %v", path, errors.Unwrap(err)))
				continue
			}
			allowed := rights
			if !info.IsDir() {
				allowed &= fileRights
				report.Granted = append(report.Granted, look(path))
			}
			rules = append(rules, landlock.PathAccess(allowed, path).IgnoreIfMissing())
		}
	}
	add(readRights, p.Read...)
	add(writeRights, p.Write...)
	add(executeRights, p.Execute...)
	add(deviceRights, p.Devices...)
	if p.RunDir != "" {
		rules = append(rules, landlock.PathAccess(socketRights, p.RunDir))
	}
	// Every runtime opens /dev/null.
	rules = append(rules, landlock.PathAccess(deviceRights&^ll.AccessFSIoctlDev, os.DevNull).IgnoreIfMissing())
	// The image needs a right only where it is a file: a memfd lies outside of what
	// Landlock looks at.
	path := "/proc/self/fd/" + strconv.Itoa(int(image.Fd()))
	if name, err := os.Readlink(path); err == nil && !strings.HasPrefix(name, "/memfd:") {
		rules = append(rules, landlock.PathAccess(executeRights&fileRights, path))
	}
	return rules
}

func (p *Policy) portRules() []landlock.Rule {
	var rules []landlock.Rule
	for _, port := range p.ConnectTCP {
		rules = append(rules, landlock.ConnectTCP(port))
	}
	for _, port := range p.BindTCP {
		rules = append(rules, landlock.BindTCP(port))
	}
	if p.UDP {
		return rules
	}
	for _, port := range p.ConnectUDP {
		rules = append(rules, landlock.ConnectSendUDP(port))
	}
	if len(p.ConnectUDP) > 0 {
		rules = append(rules, landlock.BindUDP(0)) // any free port, to send from
	}
	return rules
}

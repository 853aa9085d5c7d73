package confine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ownGroup is the group that the gateway itself moves to: a group that has groups with
// limits below it may hold no process.
const ownGroup = "core"

// Delegated finds the cgroup v2 directory that this process was given to divide, makes
// it ready, and returns it for Policy.Cgroup. The error says what is missing, for
// Policy.NoCgroup. It moves the calling process into a group of its own, so a gateway
// calls it once, before it starts any driver; under systemd it needs Delegate=yes.
func Delegated() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("cgroup: %w", err)
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("cgroup: %w", err)
	}
	dir, err := unifiedGroup(mounts, groups)
	if err != nil {
		return "", err
	}
	if err := divide(dir, os.Getpid()); err != nil {
		return "", err
	}
	return dir, nil
}

// unifiedGroup finds the directory of this process's group; see cgroups(7) and proc(5).
func unifiedGroup(mounts, groups []byte) (string, error) {
	var mount, own string
	for line := range bytes.Lines(mounts) {
		before, after, ok := strings.Cut(string(line), " - ")
		fields := strings.Fields(before)
		if ok && len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			mount = fields[4]
		}
	}
	if mount == "" {
		return "", errors.New("cgroup: no cgroup v2 on this machine")
	}
	for line := range bytes.Lines(groups) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "0::"); ok {
			own = path
		}
	}
	if own == "" || strings.Contains(own, "..") {
		return "", errors.New("cgroup: this process is in no group of cgroup v2 that it can see")
	}
	dir := filepath.Join(mount, own)
	if filepath.Base(dir) == ownGroup { // from an earlier start of this process
		dir = filepath.Dir(dir)
	}
	return dir, nil
}

// divide moves the process pid into a group of its own below dir, and lets groups
// below dir have limits.
func divide(dir string, pid int) error {
	for _, controller := range []string{"memory", "pids"} {
		if have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers")); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		} else if !slices.Contains(strings.Fields(string(have)), controller) {
			return fmt.Errorf("cgroup: no %s controller in cgroup v2", controller)
		}
	}
	own := filepath.Join(dir, ownGroup)
	if err := os.Mkdir(own, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("cgroup: %w: under systemd set Delegate=yes", err)
	}
	if err := writeControl(own, "cgroup.procs", strconv.Itoa(pid)); err != nil {
		return err
	}
	if err := writeControl(dir, "cgroup.subtree_control", "+memory +pids"); err != nil {
		back := writeControl(dir, "cgroup.procs", strconv.Itoa(pid))
		return errors.Join(fmt.Errorf("%w: the group may hold no process but the gateway", err), back)
	}
	return nil
}

func writeControl(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	_, err = io.WriteString(f, value)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}

// groupPrefix begins the name of a driver's group.
const groupPrefix = "driver-"

// cgroup is where the groups of drivers are made: below Dir, or nowhere, and Why.
type cgroup struct {
	Dir, Why string
	limits   *limits
}

// join makes a group with the limits for the process to be born in. It
// returns what to close after the start, or nil where there is no group.
func (c *cgroup) join(attributes *syscall.SysProcAttr, report *Report) io.Closer {
	if c.Dir == "" {
		why := c.Why
		if why == "" {
			why = "cgroup: none was given"
		}
		report.lacks(why)
		return nil
	}
	sweep(c.Dir)
	dir, err := os.MkdirTemp(c.Dir, groupPrefix)
	if err == nil {
		err = c.limits.limitGroup(dir)
	} else {
		err = fmt.Errorf("cgroup: %w", err)
	}
	var group *os.File
	if err == nil {
		group, err = os.Open(dir)
	}
	if err != nil {
		report.lacks(err.Error())
		_ = os.Remove(dir)
		return nil
	}
	attributes.UseCgroupFD, attributes.CgroupFD = true, int(group.Fd())
	report.has("cgroup: memory, pids")
	return group
}

// sweep removes the groups of processes that are gone. The kernel keeps those that
// hold a process, also one of an earlier gateway. A group between its making and its
// process's birth is empty too: it is spared while it is young.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), groupPrefix) && e.IsDir() && !young(filepath.Join(dir, e.Name())) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func young(path string) bool {
	info, err := os.Stat(path)
	return err != nil || time.Since(info.ModTime()) < time.Minute
}

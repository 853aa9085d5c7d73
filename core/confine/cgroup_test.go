package confine_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/confine"
)

func command() *exec.Cmd { return exec.Command("driver-test") }

const (
	mounts = "24 30 0:22 / /sys rw - sysfs sysfs rw\n31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
	hybrid = "24 30 0:22 / /sys rw - sysfs sysfs rw\n33 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)

func TestUnifiedGroup(t *testing.T) {
	for _, c := range []struct{ mounts, groups, want, fault string }{
		{mounts, "0::/system.slice/fieldloom.service\n", "/sys/fs/cgroup/system.slice/fieldloom.service", ""},
		{mounts, "0::/system.slice/fieldloom.service/core\n", "/sys/fs/cgroup/system.slice/fieldloom.service", ""},
		{mounts, "4:memory:/x\n0::/\n", "/sys/fs/cgroup", ""},
		{hybrid, "4:memory:/x\n0::/\n", "", "cgroup: no cgroup v2"},
		{mounts, "4:memory:/x\n", "", "in no group"},
		{mounts, "0::/../../other\n", "", "in no group"},
		{"", "", "", "no cgroup v2"},
	} {
		dir, err := confine.UnifiedGroup([]byte(c.mounts), []byte(c.groups))
		if dir != c.want || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%q: %q, %v; want %q, %s", c.groups, dir, err, c.want, c.fault)
		}
	}
}

// cgroupfs plays the kernel's part with plain files; a real group with these
// controllers needs a machine that gave them to cgroup v2.
func cgroupfs(t *testing.T, controllers string, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range append(files, "cgroup.controllers", "cgroup.procs", "cgroup.subtree_control") {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte(controllers+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "core"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "core", "cgroup.procs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDivide(t *testing.T) {
	dir := cgroupfs(t, "cpu memory pids")
	if err := confine.Divide(dir, 17); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"core/cgroup.procs": "17", "cgroup.subtree_control": "+memory +pids"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if err := confine.Divide(cgroupfs(t, "cpu pids"), 17); err == nil || err.Error() != "cgroup: no memory controller in cgroup v2" {
		t.Errorf("without memory: %v", err)
	}
	dir = cgroupfs(t, "memory pids")
	if err := os.Remove(filepath.Join(dir, "cgroup.subtree_control")); err != nil {
		t.Fatal(err)
	}
	err := confine.Divide(dir, 17)
	if back, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs")); err == nil || string(back) != "17" {
		t.Errorf("controllers that cannot be handed on: %v, and the process is in %q", err, back)
	}
}

func TestGroupLimits(t *testing.T) {
	for _, names := range [][]string{{"memory.max", "pids.max"}, {"memory.max", "pids.max", "memory.swap.max"}} { // without swap, and with it
		dir := cgroupfs(t, "", names...)
		if err := (confine.Policy{Memory: 1 << 20, Tasks: 40}).LimitGroup(dir); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"memory.max": "1048576", "pids.max": "40", "memory.swap.max": "0"}
		for _, name := range names {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want[name] {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	}
}

// A process starts without a group where there is none to be had, and the report says why.
func TestNoGroup(t *testing.T) {
	for _, c := range []struct {
		policy confine.Policy
		want   string
	}{
		{confine.Policy{}, "cgroup: none was given"},
		{confine.Policy{NoCgroup: "cgroup: no memory controller in cgroup v2"}, "cgroup: no memory controller in cgroup v2"},
		{confine.Policy{Cgroup: "/nowhere"}, "/nowhere: no such file"},
		{confine.Policy{Cgroup: t.TempDir()}, "memory.max: no such file"},
	} {
		c.policy.Mode = confine.Required
		r := start(t, c.policy, image(t), scene{}, "breathe")
		if r.out != "allowed" || !strings.Contains(strings.Join(r.report.Missing, "\n"), c.want) {
			t.Errorf("%q: %v %v, want %q", r.out, r.fault, &r.report, c.want)
		}
		if left, _ := filepath.Glob(c.policy.Cgroup + "/driver-*"); c.policy.Cgroup != "" && len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// Groups of processes that are gone go too, but not one whose process is being born.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	long := time.Now().Add(-time.Hour)
	for name, at := range map[string]time.Time{"driver-old": long, "driver-new": time.Now(), "other": long, "driver-full": long} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if name == "driver-full" { // as the kernel, a plain directory refuses then
			if err := os.WriteFile(filepath.Join(dir, name, "process"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	confine.Sweep(dir)
	left, err := filepath.Glob(dir + "/*")
	if err != nil || len(left) != 3 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// On this machine: a directory, or the exact reason. It must not move the test's own
// process for the tests that follow, so a process of its own asks.
func TestDelegated(t *testing.T) {
	r := start(t, confine.Policy{}, image(t), scene{}, "ask for a group")
	dir, ok := strings.CutPrefix(r.out, "group ")
	if !ok && !strings.HasPrefix(r.out, "refused: cgroup: ") && !strings.HasPrefix(r.out, "refused: ") {
		t.Fatalf("%q %s", r.out, r.errs)
	}
	t.Logf("here: %s", r.out)
	if !ok {
		return
	}
	dir, _, _ = strings.Cut(dir, "\n")
	r = start(t, confine.Policy{Mode: confine.Required, Cgroup: dir, Memory: 64 << 20}, image(t), scene{}, "eat memory")
	if r.out == "allowed" || !strings.Contains(r.report.String(), "cgroup: memory, pids") {
		t.Errorf("%q %v", r.out, &r.report)
	}
}

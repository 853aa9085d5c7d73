package launch

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/pack"
)

// plantOf is a configuration with n links of one driver.
func plantOf(t *testing.T, n int, settings string) *config.Config {
	t.Helper()
	var text strings.Builder
	text.WriteString(settings + "links:\n")
	fmt.Fprintf(&text, "  \"plc[1..%d]\": {driver: modbus, url: \"tcp://192.0.2.1:1502\", devices: {d: {points: {\"p[1..10]\": {address: \"holding:{p}\"}}}}}\n", n)
	return parsed(t, text.String())
}

// Every limit that the links of a driver reach is told with what to set; what is not
// reached is not told.
func TestLimitsAreToldBeforeTheyAreReached(t *testing.T) {
	for _, q := range []struct {
		links    int
		settings string
		files    uint64
		packaged int64
		want     []string // in the only warning; none: there is none
	}{
		{links: 1000, files: 1 << 20},
		{links: 10_000, files: 1 << 20},
		{links: 300, files: 4096},
		{9000, "processes: {modbus: {instances: 1}}\n", 8192, 0, []string{"9000 links in 1 processes need up to 9064 open files", "8192 are possible",
			"872 links", "LimitNOFILE=9064", "ulimit -n", "processes.modbus.instances to at least 2"}},
		{9000, "", 8192, 0, []string{"9000 links are shared by 2 processes", "8192 files", "LimitNOFILE=9064"}},
		{10_000, "", 700, 0, []string{"10000 links in 16 processes", "LimitNOFILE="}},
		{9000, "processes: {modbus: {memory: 64MiB}}\n", 1 << 20, 0, []string{"9000 links and 90000 points", "may take 67 MB", "processes.modbus.memory to at least"}},
		{9000, "", 1 << 20, 100 << 20, []string{"9000 links", "may take 104 MB", "processes.modbus.memory to at least"}},
		{9000, "processes: {modbus: {memory: 1GiB}}\n", 1 << 20, 100 << 20, nil},
		{100, "processes: {modbus: {instances: 16, standby: 4}}\n", 512, 0, []string{"the gateway itself may open 512 files", "LimitNOFILE=768"}},
	} {
		c := plantOf(t, q.links, q.settings)
		got := limitWarnings(c, q.files, func(string) int64 { return q.packaged })
		if len(got) != min(len(q.want), 1) {
			t.Errorf("%d links, %s%d files: %q", q.links, q.settings, q.files, got)
			continue
		}
		for _, part := range q.want {
			if !strings.Contains(got[0], part) {
				t.Errorf("%d links, %s%d files: no %q in %q", q.links, q.settings, q.files, part, got[0])
			}
		}
	}
}

// A process is given the files and the memory of its links, and its own do not change with
// every link that is added: a process that is to have more is replaced.
func TestLimitsGrowWithTheLinks(t *testing.T) {
	m := &pack.Manifest{Wants: pack.Wants{TCP: pack.Ports{FromLinks: true}}}
	limits := make(map[int]int) // files by links
	for _, n := range []int{1, 1000, 9000, 9001, 10_000} {
		p, err := policyOf("modbus", m, false, config.Process{}, plantOf(t, n, ""))
		if err != nil {
			t.Fatal(err)
		}
		files, memory := max(p.Files, confine.DefaultFiles), max(p.Memory, confine.DefaultMemory)
		limits[n] = files
		s := size{links: n, devices: n, points: 10 * n}
		if files < n+spareFiles || memory < s.memory()*3/2 {
			t.Errorf("%d links: %d files, %d MB", n, files, memory>>20)
		}
		if n <= 1000 && (p.Files != 0 || p.Memory != 0) {
			t.Errorf("%d links: %d files, %d bytes in place of the defaults", n, p.Files, p.Memory)
		}
	}
	if limits[9000] != limits[10_000] {
		t.Errorf("1,000 more links are other rights: %v", limits)
	}
	p, err := policyOf("modbus", m, false, config.Process{Memory: 1 << 30}, plantOf(t, 10_000, ""))
	if err != nil || p.Memory != 1<<30 {
		t.Errorf("the operator's memory: %d, %v", p.Memory, err)
	}
}

// Links are shared by as few processes as have room for them, unless the operator says by
// how many.
func TestInstancesForLinks(t *testing.T) {
	for _, q := range []struct {
		links      int
		configured int
		files      uint64
		want       int
	}{
		{0, 0, 1024, 1}, {900, 0, 1024, 1}, {1000, 0, 1024, 2}, {10_000, 0, 1 << 20, 1}, {10_000, 0, 8192, 2},
		{10_000, 1, 8192, 1}, {10, 3, 8192, 3}, {1_000_000, 0, 1024, 16}, {10, 0, 10, 16},
	} {
		if got := instancesOf(config.Process{Instances: q.configured}, size{links: q.links}, q.files); got != q.want {
			t.Errorf("%d links with %d files, configured %d: %d processes, want %d", q.links, q.files, q.configured, got, q.want)
		}
	}
}

// The kernel counts a user's tasks over all its processes.
func TestTasksOfAUserAreThoseOfAllItsDrivers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("a policy with a user is the same without root")
	}
	c := parsed(t, `
processes:
  modbus: {user: "65534:65534", instances: 16}
  mqtt: {user: "65534:65534", standby: 2}
  serial: {instances: 16}
links:
  a: {driver: modbus}
  b: {driver: mqtt}
  c: {driver: serial}
`)
	for driverName, want := range map[string]int{"modbus": 2 * (16 + 3) * confine.DefaultTasks, "mqtt": 2 * (16 + 3) * confine.DefaultTasks, "serial": 0} {
		p, err := policyOf(driverName, &pack.Manifest{}, false, c.Process(driverName), c)
		if err != nil || p.UserTasks != want {
			t.Errorf("%s: %d tasks of its user, want %d, %v", driverName, p.UserTasks, want, err)
		}
	}
}

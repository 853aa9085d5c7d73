package launch

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/gateway/internal/reach"
	"github.com/fieldloom/fieldloom/core/pack"
)

// confineModes translates the configuration's words.
var confineModes = map[config.Confinement]confine.Mode{
	config.ConfineOff: confine.Off, config.ConfineBestEffort: confine.BestEffort, config.ConfineRequired: confine.Required,
}

// systemDirs hold programs and libraries.
var systemDirs = []string{"/bin", "/lib", "/lib64", "/usr"}

// bareProcesses is how many children a bare executable may have.
const bareProcesses = 32

// granted is what the processes of a driver may do.
type granted struct {
	policy confine.Policy
	// absent are paths that links name and that are not there: what they would give can be
	// told when they are.
	absent []string
	trusts bool // the machine's certificate authorities are granted
}

// grant makes what the processes of a driver may do: what its manifest asks for and its
// links name, as far as the manifest lets links name it. Several configurations are
// given while one of them is only looked at. A bare executable, which has no manifest of
// its own, may be a script or need libraries, and is given those of the system.
func grant(driverName string, m *pack.Manifest, bare bool, how config.Process, configs ...*config.Config) (granted, error) {
	p := confine.Policy{
		Mode: confineModes[how.Confine], UDP: m.Wants.UDP.Any, Unix: m.Wants.Unix,
		Read: slices.Clone(m.Wants.Files), Write: slices.Clone(m.Wants.Write),
		ConnectTCP: slices.Clone(m.Wants.TCP.List), ConnectUDP: slices.Clone(m.Wants.UDP.List),
		Memory: m.Wants.Memory, Processes: m.Wants.Processes,
	}
	if bare {
		p.Execute, p.Processes = slices.Clone(systemDirs), bareProcesses
		p.Read = append(p.Read, "/etc/ld.so.cache", "/etc/ssl", "/etc/localtime")
	}
	if how.Memory > 0 {
		p.Memory = how.Memory
	}
	if err := p.User(how.User); err != nil {
		return granted{policy: p}, fmt.Errorf("driver %s: %w: correct processes.%s.user in fieldloom.yaml", driverName, err, driverName)
	}
	if len(p.ConnectTCP)+len(p.ConnectUDP) > 0 {
		p.AddNames()
	}
	g := granted{policy: p}
	for _, c := range configs {
		g.gather(driverName, m, c)
		g.size(driverName, m, how, c)
	}
	if p.UID != 0 {
		g.policy.UserTasks = userTasks(driverName, configs, fileLimit())
	}
	g.policy = ordered(g.policy)
	return g, nil
}

// size allows the files and the memory that the links of a configuration need.
func (g *granted) size(driverName string, m *pack.Manifest, how config.Process, c *config.Config) {
	s := sizeOf(driverName, c)
	if files := s.files(); files > confine.DefaultFiles {
		g.policy.Files = max(g.policy.Files, files)
	}
	if memory := s.memoryLimit(); how.Memory == 0 && m.Wants.Memory == 0 && memory > confine.DefaultMemory {
		g.policy.Memory = max(g.policy.Memory, memory)
	}
}

// ordered is the policy with each list in order and without repetition: settings are
// looked through in any order.
func ordered(p confine.Policy) confine.Policy {
	for _, list := range []*[]string{&p.Read, &p.Write, &p.Execute, &p.Devices} {
		*list = inOrder(*list)
	}
	for _, list := range []*[]uint16{&p.ConnectTCP, &p.BindTCP, &p.ConnectUDP} {
		*list = inOrder(*list)
	}
	p.Groups = inOrder(p.Groups)
	return p
}

func inOrder[T cmp.Ordered](list []T) []T {
	if len(list) == 0 {
		return nil // as it is without a list
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// maxAbsent bounds how many paths are looked at again and again. Not every text that
// begins with a slash is one.
const maxAbsent = 100

// gather grants what the links of a configuration name.
func (g *granted) gather(driverName string, m *pack.Manifest, c *config.Config) {
	for _, l := range c.Links {
		if l.Driver != driverName {
			continue
		}
		reach.Endpoints(l, m, func(_ reach.Setting, e pack.Endpoint, err error) {
			if e.Path != "" && len(g.absent) < maxAbsent && !isThere(e.Path) && !slices.Contains(g.absent, e.Path) {
				g.absent = append(g.absent, e.Path)
			}
			if err == nil && m.Wants.Allows(e) == nil {
				g.add(e, &m.Wants)
			}
		})
	}
}

// add grants one endpoint, which the manifest allows.
func (g *granted) add(e pack.Endpoint, wants *pack.Wants) {
	p := &g.policy
	if e.TLS && !g.trusts {
		g.trusts = true
		p.AddCertificates()
	}
	switch {
	case e.Unsaid() && e.Over == pack.OverTCP:
		p.TCP = p.TCP || p.Mode != confine.Required
		p.AddName(e.Host)
	case e.Over == pack.OverTCP:
		p.AddHost(e.Host, e.Port)
	case e.Over == pack.OverUDP && wants.UDP.Any:
		p.AddName(e.Host)
	case e.Over == pack.OverUDP:
		p.AddUDPHost(e.Host, e.Port)
	case e.Over == pack.OverSerial && isThere(e.Path):
		p.AddFile(e.Path) // a device, or what stands for one
	case e.Over == pack.OverSerial:
		p.AddDevice(e.Path)
	case e.Over == pack.OverFile:
		p.AddFile(e.Path)
	}
}

// Env is the whole environment of a driver process: the garbage collector trades a
// little work for a small process, and works harder before the memory ends that the
// process may take.
func Env(p *confine.Policy) []string {
	env := []string{"GOGC=50"}
	if p.Mode == confine.Off {
		return env
	}
	memory := p.Memory
	if memory == 0 {
		memory = confine.DefaultMemory
	}
	return append(env, fmt.Sprintf("GOMEMLIMIT=%d", memory-memory/8))
}

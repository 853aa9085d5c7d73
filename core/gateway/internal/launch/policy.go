package launch

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/confine"
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

// policyOf is what the processes of a driver may do: what its manifest asks for and its
// links name, as far as the manifest lets links name it. Several configurations are
// given while one of them is only looked at. A bare executable, which has no manifest of
// its own, may be a script or need libraries, and is given those of the system.
func policyOf(kind string, m *pack.Manifest, bare bool, how config.Process, configs ...*config.Config) (confine.Policy, error) {
	p, _, err := policyAndAbsent(kind, m, bare, how, configs...)
	return p, err
}

// policyAndAbsent is policyOf, and which paths the links name that are not there: what
// they would give can be told when they are.
func policyAndAbsent(kind string, m *pack.Manifest, bare bool, how config.Process, configs ...*config.Config) (_ confine.Policy, absent []string, _ error) {
	p := confine.Policy{
		Mode: confineModes[how.Confine], UDP: m.Wants.UDP, Unix: m.Wants.Unix,
		Read: slices.Clone(m.Wants.Files), Write: slices.Clone(m.Wants.Write),
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
		return p, nil, fmt.Errorf("driver %s: %w: correct processes.%s.user in fieldloom.yaml", kind, err, kind)
	}
	if len(m.Wants.TCP.List) > 0 {
		p.ConnectTCP = slices.Clone(m.Wants.TCP.List)
		p.AddNames()
	}
	w := wants{policy: &p, of: &m.Wants}
	for _, c := range configs {
		w.gather(kind, c)
		s := sizeOf(kind, c)
		if files := s.files(); files > confine.DefaultFiles {
			p.Files = max(p.Files, files)
		}
		if memory := s.memoryLimit(); how.Memory == 0 && m.Wants.Memory == 0 && memory > confine.DefaultMemory {
			p.Memory = max(p.Memory, memory)
		}
	}
	if p.UID != 0 {
		p.UserTasks = userTasks(kind, configs, fileLimit())
	}
	return ordered(p), w.absent, nil
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

// wants gathers what the settings of links name.
type wants struct {
	policy *confine.Policy
	of     *pack.Wants
	absent []string
}

// maxAbsent bounds how many paths are looked at again and again. Not every text that
// begins with a slash is one.
const maxAbsent = 100

func (w *wants) gather(kind string, c *config.Config) {
	for _, l := range c.Links {
		if l.Driver == kind {
			EachSetting(l, w.text)
		}
	}
}

// text gives what one setting names. A tty is given to who asks for serial ports, a
// connection to who asks for those that links name, and a file to anybody: the
// operator wrote its path there.
func (w *wants) text(text string) {
	switch {
	case filepath.IsAbs(text):
		if len(w.absent) < maxAbsent && !isThere(text) && !slices.Contains(w.absent, text) {
			w.absent = append(w.absent, text)
		}
		if w.of.Serial || !IsDevice(text) {
			w.policy.AddValue(text, 0)
		}
	case w.of.TCP.FromLinks:
		w.url(text)
	}
}

// portsOfTCP are what drivers mean by tcp:// without a port, as Modbus and MQTT do.
var portsOfTCP = []uint16{502, 1883}

func (w *wants) url(text string) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return
	}
	if u.Scheme == "tcp" && u.Port() == "" {
		for _, port := range portsOfTCP {
			w.policy.AddHost(u.Hostname(), port)
		}
		return
	}
	w.policy.AddValue(text, 0)
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

// IsDevice reports whether a path is that of a device.
func IsDevice(path string) bool {
	if strings.HasPrefix(path, "/dev/") {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// EachSetting calls f for every text in the settings of a link and its devices.
func EachSetting(l *config.Link, f func(text string)) {
	textsOf(l.Settings, f)
	var before *byte // devices of one make share their settings
	for _, d := range l.Devices {
		if len(d.Settings) > 0 && &d.Settings[0] != before {
			before = &d.Settings[0]
			textsOf(d.Settings, f)
		}
	}
}

// textsOf looks only into settings with a slash: others have neither a URL nor a path.
func textsOf(raw json.RawMessage, f func(text string)) {
	var value any
	if bytes.ContainsRune(raw, '/') && json.Unmarshal(raw, &value) == nil {
		eachText(value, f)
	}
}

// eachText calls f for every text of a JSON value.
func eachText(value any, f func(text string)) {
	switch v := value.(type) {
	case string:
		f(v)
	case []any:
		for _, item := range v {
			eachText(item, f)
		}
	case map[string]any:
		for _, item := range v {
			eachText(item, f)
		}
	}
}

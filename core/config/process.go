package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Confinement is how strictly a driver process is confined.
type Confinement uint8

// The confinements.
const (
	ConfineBestEffort Confinement = iota // with all that the system offers
	ConfineRequired                      // a process that cannot be confined is not started
	ConfineOff
)

// The words of Confinement, in its order.
var confinements = []string{"best-effort", "required", "off"}

func (c Confinement) String() string {
	if int(c) < len(confinements) {
		return confinements[c]
	}
	return "unknown"
}

// Process is how the processes of one driver are run.
type Process struct {
	Instances int // that share the driver's links; 0: as many as these need
	Standby   int // warm ones of each instance
	Confine   Confinement
	Detach    bool          // they outlive the gateway
	Memory    int64         // bytes that one may take; 0: what its package wants
	User      string        // whom they run as, where the gateway is root; empty: as the gateway
	Log       slog.Level    // the lowest that is logged
	Probation time.Duration // in which an upgrade is taken back when it does badly
	Spill     int64         // bytes on disk for what does not fit into the ring; 0: none
}

const (
	defaultTrust     = "trust.yaml"
	defaultSecrets   = "secrets"
	defaultOrphan    = 5 * time.Minute
	leastOrphan      = time.Second
	mostOrphan       = 7 * 24 * time.Hour
	defaultProbation = time.Minute
	mostProbation    = 24 * time.Hour
	mostInstances    = 16
	mostStandby      = 4
	leastMemory      = 32 << 20
	leastSpill       = 1 << 20
)

var (
	unsignedWords = []string{"deny", "allow-dev"}
	processKeys   = []string{"instances", "standby", "confine", "detach", "memory", "user", "log", "probation", "spill"}
)

// driverKeys reads the keys that are about drivers and their processes.
func (b *builder) driverKeys(root *node) {
	c := b.cfg
	c.TrustFile = b.path(root.get("trust"), "")
	c.SecretsDir = b.path(root.get("secrets"), filepath.Join(c.Dir, defaultSecrets))
	if n := root.get("unsigned"); n != nil {
		c.AllowDev = b.oneOf(n, scope{}, unsignedWords) == 1
	}
	c.Orphan = defaultOrphan
	if n := root.get("orphan"); n != nil {
		c.Orphan = b.duration(n, scope{}, leastOrphan, mostOrphan)
	}
	c.process = Process{Detach: true, Log: c.Log.Level, Probation: defaultProbation}
	b.shared(root, &c.process)
	b.processes(root.get("processes"))
}

// shared reads the keys that stand for all drivers as well as for one.
func (b *builder) shared(n *node, p *Process) {
	if v := n.get("confine"); v != nil {
		p.Confine = Confinement(b.oneOf(v, scope{}, confinements))
	}
	if v := n.get("detach"); v != nil {
		p.Detach = b.boolean(v)
	}
}

func (b *builder) processes(n *node) {
	b.cfg.processes = map[string]Process{}
	for _, f := range b.entries(n, "a map of drivers by name") {
		if f.value.kind != kindMap {
			b.wrongKind(f.value, "a map with "+list(processKeys))
			continue
		}
		if err := checkName(f.key); err != nil {
			b.add(f.place, f.value.trail.String(), "%s", err)
			continue
		}
		b.cfg.processes[f.key] = b.process(f.value)
		b.processNames = append(b.processNames, f)
	}
}

func (b *builder) process(n *node) Process {
	b.unknownKeys(n, processKeys, gatewayKeys, "is about the whole gateway: move it out of `processes:`")
	p := b.cfg.process
	b.shared(n, &p)
	if v := n.get("instances"); v != nil {
		p.Instances = b.whole(v, 1, mostInstances)
	}
	if v := n.get("standby"); v != nil {
		p.Standby = b.whole(v, 0, mostStandby)
	}
	if v := n.get("memory"); v != nil {
		p.Memory = b.size(v, scope{}, leastMemory)
	}
	if v := n.get("user"); v != nil {
		if p.User = b.text(v, scope{}); p.User == "" && v.kind == kindText {
			b.fault(v, "is empty: write the name of a user, or remove the key")
		}
	}
	if v := n.get("log"); v != nil {
		p.Log = slog.LevelDebug + slog.Level(4*b.oneOf(v, scope{}, logLevels))
	}
	if v := n.get("probation"); v != nil {
		p.Probation = b.duration(v, scope{}, 0, mostProbation)
	}
	if v := n.get("spill"); v != nil {
		if p.Spill = b.size(v, scope{}, 0); 0 < p.Spill && p.Spill < leastSpill {
			b.fault(v, "%s is too small: use at least %s, or 0B for none", v.text, formatSize(leastSpill))
		}
	}
	return p
}

// checkProcesses refuses processes of a driver that no link uses: a misspelt name
// would leave the driver that was meant without its confinement.
func (b *builder) checkProcesses() {
	used := b.cfg.Drivers()
	for _, f := range b.processNames {
		if slices.Contains(used, f.key) {
			continue
		}
		hint := "correct the name, or remove it"
		if len(used) > 0 {
			hint += "; links use " + list(used)
		}
		b.add(f.place, f.value.trail.String(), "no link uses a driver %s%s: %s", f.key, suggest(f.key, used), hint)
	}
}

// Process tells how the processes of a driver are run.
func (c *Config) Process(driver string) Process {
	if p, ok := c.processes[driver]; ok {
		return p
	}
	return c.process
}

// findTrust is where the keys are looked for by default: in the configuration's
// directory, else beside the executable, as the demo's are.
func findTrust(dir string) string {
	own := filepath.Join(dir, defaultTrust)
	if exists(own) {
		return own
	}
	if beside := besideExecutable(defaultTrust); exists(beside) {
		return beside
	}
	return own // where an error says that it is missing
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

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
func (g *gatewayReader) driverKeys(root *node) {
	c := g.cfg
	c.TrustFile = g.path(root.get("trust"), "")
	c.SecretsDir = g.path(root.get("secrets"), filepath.Join(c.Dir, defaultSecrets))
	if n := root.get("unsigned"); n != nil {
		c.AllowDev = g.oneOf(n, scope{}, unsignedWords) == 1
	}
	c.Orphan = defaultOrphan
	if n := root.get("orphan"); n != nil {
		c.Orphan = g.duration(n, scope{}, leastOrphan, mostOrphan)
	}
	c.process = Process{Detach: true, Log: c.Log.Level, Probation: defaultProbation}
	g.shared(root, &c.process)
	g.processes(root.get("processes"))
}

// shared reads the keys that stand for all drivers as well as for one.
func (g *gatewayReader) shared(n *node, p *Process) {
	if v := n.get("confine"); v != nil {
		p.Confine = Confinement(g.oneOf(v, scope{}, confinements))
	}
	if v := n.get("detach"); v != nil {
		p.Detach = g.boolean(v)
	}
}

func (g *gatewayReader) processes(n *node) {
	g.cfg.processes = map[string]Process{}
	for _, f := range g.entries(n, "a map of drivers by name") {
		if f.value.kind != kindMap {
			g.wrongKind(f.value, "a map with "+list(processKeys))
			continue
		}
		if err := checkName(f.key); err != nil {
			g.faultAt(f, "%s", err)
			continue
		}
		g.cfg.processes[f.key] = g.process(f.value)
		g.processNames = append(g.processNames, f)
	}
}

func (g *gatewayReader) process(n *node) Process {
	g.unknownKeys(n, processKeys, gatewayKeys, "is about the whole gateway: move it out of `processes:`")
	p := g.cfg.process
	g.shared(n, &p)
	if v := n.get("instances"); v != nil {
		p.Instances = g.whole(v, 1, mostInstances)
	}
	if v := n.get("standby"); v != nil {
		p.Standby = g.whole(v, 0, mostStandby)
	}
	if v := n.get("memory"); v != nil {
		p.Memory = g.size(v, scope{}, leastMemory)
	}
	if v := n.get("user"); v != nil {
		if p.User = g.text(v, scope{}); p.User == "" && v.kind == kindText {
			g.fault(v, "is empty: write the name of a user, or remove the key")
		}
	}
	if v := n.get("log"); v != nil {
		p.Log = slog.LevelDebug + slog.Level(4*g.oneOf(v, scope{}, logLevels))
	}
	if v := n.get("probation"); v != nil {
		p.Probation = g.duration(v, scope{}, 0, mostProbation)
	}
	if v := n.get("spill"); v != nil {
		if p.Spill = g.size(v, scope{}, 0); 0 < p.Spill && p.Spill < leastSpill {
			g.fault(v, "%s is too small: use at least %s, or 0B for none", v.text, formatSize(leastSpill))
		}
	}
	return p
}

// checkProcesses refuses processes of a driver that no link uses: a misspelt name
// would leave the driver that was meant without its confinement.
func (g *gatewayReader) checkProcesses() {
	used := g.cfg.Drivers()
	for _, f := range g.processNames {
		if slices.Contains(used, f.key) {
			continue
		}
		hint := "correct the name, or remove it"
		if len(used) > 0 {
			hint += "; links use " + list(used)
		}
		g.faultAt(f, "no link uses a driver %s%s: %s", f.key, suggest(f.key, used), hint)
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

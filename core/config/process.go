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

var unsignedWords = []string{"deny", "allow-dev"}

// The sections about drivers and their processes.
var (
	driversSection = &section{
		key:   "drivers",
		read:  func(r *sectionReader, n *node) { r.cfg.DriversDir = r.path(n) },
		fixed: func(old, next *Config) string { return differs("drivers", old.DriversDir != next.DriversDir) },
	}
	trustSection = &section{
		key:  "trust",
		read: func(r *sectionReader, n *node) { r.cfg.TrustFile = r.path(n) },
	}
	unsignedSection = &section{
		key:  "unsigned",
		read: func(r *sectionReader, n *node) { r.cfg.AllowDev = r.oneOf(n, scope{}, unsignedWords) == 1 },
	}
	confineSection = &section{
		key:  "confine",
		read: func(r *sectionReader, n *node) { readConfine(r, n, &r.cfg.process) },
	}
	detachSection = &section{
		key:      "detach",
		defaults: func(c *Config) { c.process.Detach = true },
		read:     func(r *sectionReader, n *node) { readDetach(r, n, &r.cfg.process) },
	}
	orphanSection = &section{
		key:      "orphan",
		defaults: func(c *Config) { c.Orphan = defaultOrphan },
		read:     func(r *sectionReader, n *node) { r.cfg.Orphan = r.duration(n, scope{}, leastOrphan, mostOrphan) },
	}
	secretsSection = &section{
		key:      "secrets",
		defaults: func(c *Config) { c.SecretsDir = filepath.Join(c.Dir, defaultSecrets) },
		read:     func(r *sectionReader, n *node) { r.cfg.SecretsDir = r.path(n) },
	}
	processesSection = &section{
		key: "processes",
		defaults: func(c *Config) {
			c.process.Log, c.process.Probation = c.Log.Level, defaultProbation
			c.processes = map[string]Process{}
		},
		read:  readProcesses,
		check: checkProcesses,
	}
)

// The keys of one driver in processes.
var processKeys = []key[*Process]{
	{"instances", func(r *sectionReader, n *node, p *Process) { p.Instances = r.whole(n, 1, mostInstances) }},
	{"standby", func(r *sectionReader, n *node, p *Process) { p.Standby = r.whole(n, 0, mostStandby) }},
	{"confine", readConfine},
	{"detach", readDetach},
	{"memory", func(r *sectionReader, n *node, p *Process) { p.Memory = r.size(n, scope{}, leastMemory) }},
	{"user", readUser},
	{"log", func(r *sectionReader, n *node, p *Process) { p.Log = r.logLevel(n) }},
	{"probation", func(r *sectionReader, n *node, p *Process) { p.Probation = r.duration(n, scope{}, 0, mostProbation) }},
	{"spill", readSpill},
}

func readConfine(r *sectionReader, n *node, p *Process) {
	p.Confine = Confinement(r.oneOf(n, scope{}, confinements))
}

func readDetach(r *sectionReader, n *node, p *Process) { p.Detach = r.boolean(n) }

func readUser(r *sectionReader, n *node, p *Process) {
	if p.User = r.text(n, scope{}); p.User == "" && n.kind == kindText {
		r.fault(n, "is empty: write the name of a user, or remove the key")
	}
}

func readSpill(r *sectionReader, n *node, p *Process) {
	if p.Spill = r.size(n, scope{}, 0); 0 < p.Spill && p.Spill < leastSpill {
		r.fault(n, "%s is too small: use at least %s, or 0B for none", n.text, formatSize(leastSpill))
	}
}

func readProcesses(r *sectionReader, n *node) {
	known := keyNames(processKeys)
	for _, f := range r.entries(n, "a map of drivers by name") {
		if f.value.kind != kindMap {
			r.wrongKind(f.value, "a map with "+list(known))
			continue
		}
		if err := checkName(f.key); err != nil {
			r.faultAt(f, "%s", err)
			continue
		}
		r.unknownKeys(f.value, known, r.sections.names(), "is about the whole gateway: move it out of `processes:`")
		p := r.cfg.process
		readKeys(r, f.value, processKeys, &p)
		r.cfg.processes[f.key] = p
	}
}

// checkProcesses refuses processes of a driver that no link uses: a misspelt name
// would leave the driver that was meant without its confinement.
func checkProcesses(r *sectionReader, n *node) {
	used := r.cfg.Drivers()
	for _, f := range n.mapFields() {
		if _, read := r.cfg.processes[f.key]; !read || slices.Contains(used, f.key) {
			continue
		}
		hint := "correct the name, or remove it"
		if len(used) > 0 {
			hint += "; links use " + list(used)
		}
		r.faultAt(f, "no link uses a driver %s%s: %s", f.key, suggest(f.key, used), hint)
	}
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

package config

import (
	"log/slog"
	"path/filepath"
	"time"
)

// The keys of fieldloom.yaml.
var gatewayKeys = []string{"gateway", "data", "drivers", "trust", "unsigned", "confine", "detach", "orphan", "secrets", "processes",
	"socket", "spool", "log", "templates", "links"}

const (
	defaultGateway  = "fieldloom"
	defaultData     = "data"
	defaultSocket   = "fieldloom.sock"
	defaultMaxBytes = 1 << 30
	defaultMaxAge   = 7 * 24 * time.Hour
	leastSpool      = 1 << 20
	mostAge         = 100 * 365 * 24 * time.Hour
	// A Unix socket's path has this much room in the kernel (sun_path, less the
	// zero at its end).
	maxSocketPath = 107
)

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"text", "json"}
)

// linkFile checks the keys of a file in links/.
func (vs values) linkFile(root *node) {
	for _, f := range root.fields {
		if f.value.get("driver") != nil {
			vs.faultAt(f, "seems to be a link: move it below `links:`, indented")
		}
	}
	vs.unknownKeys(root, []string{"links", "templates"}, gatewayKeys, "belongs in "+mainFile+": move it there")
}

// A gatewayReader reads the keys of fieldloom.yaml that are about the gateway itself.
type gatewayReader struct {
	values
	cfg          *Config
	processNames []field
}

// read reads them all.
func (g *gatewayReader) read(root *node) {
	g.unknownKeys(root, gatewayKeys, []string{"devices", "points", "driver", "scan"},
		"belongs to a link: move it below `links:` and the link's name")
	c := g.cfg
	c.Gateway = defaultGateway
	if n := root.get("gateway"); n != nil {
		if c.Gateway = g.text(n, scope{}); c.Gateway != "" || n.kind == kindText {
			if err := checkName(c.Gateway); err != nil {
				g.fault(n, "%s", err)
			}
		}
	}
	c.DataDir = g.path(root.get("data"), filepath.Join(c.Dir, defaultData))
	c.DriversDir = g.path(root.get("drivers"), "")
	c.Socket = g.path(root.get("socket"), filepath.Join(c.DataDir, defaultSocket))
	g.checkSocket(root)
	g.spool(root.get("spool"))
	g.log(root.get("log"))
	g.driverKeys(root)
}

// path evaluates a path, which is relative to the directory of the configuration.
func (g *gatewayReader) path(n *node, otherwise string) string {
	if n == nil {
		return otherwise
	}
	p := g.text(n, scope{})
	switch {
	case p == "" && n.kind == kindText:
		g.fault(n, "is empty: write a path, or remove the key")
	case !filepath.IsAbs(p):
		return filepath.Join(g.cfg.Dir, p)
	}
	return p
}

func (g *gatewayReader) checkSocket(root *node) {
	if len(g.cfg.Socket) <= maxSocketPath {
		return
	}
	n := root.get("socket")
	if n == nil {
		n = root.get("data")
	}
	if n == nil {
		n = root
	}
	g.fault(n, "the socket's path %s is longer than the %d bytes that the system allows: set `socket:` to a shorter one",
		shorten(g.cfg.Socket), maxSocketPath)
}

func (g *gatewayReader) spool(n *node) {
	g.cfg.Spool = Spool{MaxBytes: defaultMaxBytes, MaxAge: defaultMaxAge}
	if n == nil {
		return
	}
	if n.kind != kindMap {
		g.wrongKind(n, "a map with max and keep")
		return
	}
	g.unknownKeys(n, []string{"max", "keep"}, nil, "")
	if v := n.get("max"); v != nil {
		g.cfg.Spool.MaxBytes = g.size(v, scope{}, leastSpool)
	}
	if v := n.get("keep"); v != nil {
		g.cfg.Spool.MaxAge = g.duration(v, scope{}, 0, mostAge)
	}
}

func (g *gatewayReader) log(n *node) {
	g.cfg.Log = Log{Level: slog.LevelInfo, Format: logFormats[0]}
	if n == nil {
		return
	}
	if n.kind != kindMap {
		g.wrongKind(n, "a map with level and format")
		return
	}
	g.unknownKeys(n, []string{"level", "format"}, nil, "")
	if v := n.get("level"); v != nil {
		// slog's levels are four apart and begin with debug at -4.
		g.cfg.Log.Level = slog.LevelDebug + slog.Level(4*g.oneOf(v, scope{}, logLevels))
	}
	if v := n.get("format"); v != nil {
		g.cfg.Log.Format = logFormats[g.oneOf(v, scope{}, logFormats)]
	}
}

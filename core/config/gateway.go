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

// gateway reads the keys of fieldloom.yaml that are about the gateway itself.
func (b *builder) gateway(root *node) {
	b.unknownKeys(root, gatewayKeys, []string{"devices", "points", "driver", "scan"},
		"belongs to a link: move it below `links:` and the link's name")
	c := b.cfg
	c.Gateway = defaultGateway
	if n := root.get("gateway"); n != nil {
		if c.Gateway = b.text(n, scope{}); c.Gateway != "" || n.kind == kindText {
			if err := checkName(c.Gateway); err != nil {
				b.fault(n, "%s", err)
			}
		}
	}
	c.DataDir = b.path(root.get("data"), filepath.Join(c.Dir, defaultData))
	c.DriversDir = b.path(root.get("drivers"), "")
	c.Socket = b.path(root.get("socket"), filepath.Join(c.DataDir, defaultSocket))
	b.checkSocket(root)
	b.spool(root.get("spool"))
	b.log(root.get("log"))
	b.driverKeys(root)
}

// path evaluates a path, which is relative to the directory of the configuration.
func (b *builder) path(n *node, otherwise string) string {
	if n == nil {
		return otherwise
	}
	p := b.text(n, scope{})
	switch {
	case p == "" && n.kind == kindText:
		b.fault(n, "is empty: write a path, or remove the key")
	case !filepath.IsAbs(p):
		return filepath.Join(b.cfg.Dir, p)
	}
	return p
}

func (b *builder) checkSocket(root *node) {
	if len(b.cfg.Socket) <= maxSocketPath {
		return
	}
	n := root.get("socket")
	if n == nil {
		n = root.get("data")
	}
	if n == nil {
		n = root
	}
	b.fault(n, "the socket's path %s is longer than the %d bytes that the system allows: set `socket:` to a shorter one",
		shorten(b.cfg.Socket), maxSocketPath)
}

func (b *builder) spool(n *node) {
	b.cfg.Spool = Spool{MaxBytes: defaultMaxBytes, MaxAge: defaultMaxAge}
	if n == nil {
		return
	}
	if n.kind != kindMap {
		b.wrongKind(n, "a map with max and keep")
		return
	}
	b.unknownKeys(n, []string{"max", "keep"}, nil, "")
	if v := n.get("max"); v != nil {
		b.cfg.Spool.MaxBytes = b.size(v, scope{}, leastSpool)
	}
	if v := n.get("keep"); v != nil {
		b.cfg.Spool.MaxAge = b.duration(v, scope{}, 0, mostAge)
	}
}

func (b *builder) log(n *node) {
	b.cfg.Log = Log{Level: slog.LevelInfo, Format: logFormats[0]}
	if n == nil {
		return
	}
	if n.kind != kindMap {
		b.wrongKind(n, "a map with level and format")
		return
	}
	b.unknownKeys(n, []string{"level", "format"}, nil, "")
	if v := n.get("level"); v != nil {
		// slog's levels are four apart and begin with debug at -4.
		b.cfg.Log.Level = slog.LevelDebug + slog.Level(4*b.oneOf(v, scope{}, logLevels))
	}
	if v := n.get("format"); v != nil {
		b.cfg.Log.Format = logFormats[b.oneOf(v, scope{}, logFormats)]
	}
}

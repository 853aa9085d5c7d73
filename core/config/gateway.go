package config

import (
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/socket"
)

// Where a gateway is found of whose configuration no more can be read.
const (
	DefaultData   = "data"           // the directory of the data, in that of the configuration
	DefaultSocket = "fieldloom.sock" // the API's socket, in the directory of the data
)

const (
	defaultGateway  = "fieldloom"
	defaultMaxBytes = 1 << 30
	defaultMaxAge   = 7 * 24 * time.Hour
	leastSpool      = 1 << 20
	mostAge         = 100 * 365 * 24 * time.Hour
)

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"text", "json"}
)

// The sections about the gateway itself.
var (
	gatewaySection = &section{
		key:      "gateway",
		defaults: func(c *Config) { c.Gateway = defaultGateway },
		read: func(r *sectionReader, n *node) {
			if r.cfg.Gateway = r.text(n, scope{}); r.cfg.Gateway == "" && n.kind != kindText {
				return // which is reported
			}
			if err := checkName(r.cfg.Gateway); err != nil {
				r.fault(n, "%s", err)
			}
		},
	}
	dataSection = &section{
		key:      "data",
		defaults: func(c *Config) { c.DataDir = filepath.Join(c.Dir, DefaultData) },
		read:     func(r *sectionReader, n *node) { r.cfg.DataDir = r.path(n) },
		fixed:    func(old, next *Config) string { return differs("data", old.DataDir != next.DataDir) },
	}
	socketSection = &section{
		key:      "socket",
		defaults: func(c *Config) { c.Socket = filepath.Join(c.DataDir, DefaultSocket) },
		read:     func(r *sectionReader, n *node) { r.cfg.Socket = r.path(n) },
		check:    checkSocket,
		fixed: func(old, next *Config) string {
			return differs("socket", old.Socket != next.Socket && old.DataDir == next.DataDir) // it is there by default
		},
	}
	spoolSection = &section{
		key:      "spool",
		defaults: func(c *Config) { c.Spool = Spool{MaxBytes: defaultMaxBytes, MaxAge: defaultMaxAge} },
		keys: []key[*Config]{
			{"max", func(r *sectionReader, n *node, c *Config) { c.Spool.MaxBytes = r.size(n, scope{}, leastSpool) }},
			{"keep", func(r *sectionReader, n *node, c *Config) { c.Spool.MaxAge = r.duration(n, scope{}, 0, mostAge) }},
		},
		fixed: func(old, next *Config) string { return differs("spool", old.Spool != next.Spool) },
	}
	logSection = &section{
		key:      "log",
		defaults: func(c *Config) { c.Log = Log{Level: slog.LevelInfo, Format: logFormats[0]} },
		keys: []key[*Config]{
			{"level", func(r *sectionReader, n *node, c *Config) { c.Log.Level = r.logLevel(n) }},
			{"format", func(r *sectionReader, n *node, c *Config) { c.Log.Format = logFormats[r.oneOf(n, scope{}, logFormats)] }},
		},
		fixed: func(old, next *Config) string { return differs("log format", old.Log.Format != next.Log.Format) },
	}
)

// logLevel evaluates the name of a level. slog's are four apart and begin with debug at -4.
func (vs values) logLevel(n *node) slog.Level {
	return slog.LevelDebug + slog.Level(4*vs.oneOf(n, scope{}, logLevels))
}

// checkSocket refuses a path that is too long, also one that follows from where the data are.
func checkSocket(r *sectionReader, n *node) {
	if len(r.cfg.Socket) <= socket.MaxPath {
		return
	}
	if n == nil {
		n = r.root.get("data")
	}
	if n == nil {
		n = r.root
	}
	r.fault(n, "the socket's path %s is longer than the %d bytes that the system allows: set `socket:` to a shorter one",
		shorten(r.cfg.Socket), socket.MaxPath)
}

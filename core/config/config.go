package config

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
)

// Config is a gateway's configuration, complete and checked as far as it can be
// without the drivers; Check does the rest. Nothing in it may be changed.
type Config struct {
	Dir        string // as given to Load
	Gateway    string // the gateway's name
	DataDir    string
	DriversDir string // empty only from Parse: the default is beside the executable
	Socket     string
	TrustFile  string // of the keys that may sign drivers; empty only from Parse
	SecretsDir string
	AllowDev   bool          // drivers that nobody signed may run
	Orphan     time.Duration // how long a detached driver runs without a gateway
	Spool      Spool
	Log        Log
	Links      []*Link  // in the order of the files
	Files      []string // every file read, for whoever watches them

	names     []string // of the files, as errors name them; by place.file
	process   Process  // of a driver that processes does not name
	processes map[string]Process
	secrets   []Secret
	unread    Errors        // files that look like part of it
	doubts    Errors        // of Check
	wrong     map[spot]bool // of LoadAll: what is below one has its error
}

// Warnings returns what is likely to be wrong and is no error: files that are not read,
// and, after Check, braces that nothing replaces.
func (c *Config) Warnings() Errors { return slices.Concat(c.unread, c.doubts) }

// Spool is how much the gateway keeps on disk.
type Spool struct {
	MaxBytes int64
	MaxAge   time.Duration // 0: as long as there is room
}

// Log is how the gateway logs.
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
}

// Link is one wire and the devices on it.
type Link struct {
	Name     string
	Driver   string
	Settings json.RawMessage // the driver's own keys
	Timeout  time.Duration
	Gap      time.Duration
	Classes  []control.Class // the first is "default"
	Devices  []*Device

	source *source
}

// Device is one endpoint of a link. Devices with the same points, whatever
// their names, share one Table.
type Device struct {
	Name     string
	Settings json.RawMessage // the driver's own keys
	Table    *control.Table

	source *source
}

// A source is where a link or a device was written; the names of a range share
// one.
type source struct {
	place    place
	trail    *trail
	driver   *node // of a link
	settings []field
	points   []pointSource // as in the device's table
}

// A pointSource is where a point was written.
type pointSource struct {
	place, address place
	trail          *trail
}

// limits bound what a configuration may cost before it is refused.
type limits struct {
	file    int64 // bytes of one file
	total   int64 // bytes of all files
	files   int
	links   int
	devices int
	points  int // over all devices
	written int // that differ, and so take memory of their own
}

func defaultLimits() limits {
	return limits{
		file: 2 << 20, total: 32 << 20, files: 10_000,
		links: 10_000, devices: 100_000, points: 10_000_000, written: 1_000_000,
	}
}

// Load reads the configuration in dir. An error is of type Errors.
func Load(dir string) (*Config, error) {
	c, err := LoadAll(dir)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// LoadAll is Load that also returns a configuration beside an error: what is wrong has its
// default in it, and links of which too little is right are left out. It is for finding
// all that is wrong with Check, not for running.
func LoadAll(dir string) (*Config, error) {
	lim := defaultLimits()
	c, err := parse(dir, readDir(dir, lim), lim)
	c.unread = unread(located(c))
	return c, err
}

// Parse reads a configuration from memory: files by their names in the
// directory, with slashes. It touches no disk. An error is of type Errors.
func Parse(files map[string][]byte) (*Config, error) {
	c, err := parse("", fromMap(files), defaultLimits())
	if err != nil {
		return nil, err
	}
	return c, nil
}

// ParseFile is Parse of one file, which stands for fieldloom.yaml; errors name it by its
// path.
func ParseFile(path string, text []byte) (*Config, error) {
	c, err := Parse(map[string][]byte{MainFile: text})
	var all Errors
	if errors.As(err, &all) {
		for _, e := range all {
			if e.File == MainFile {
				e.File = path
			}
		}
		return nil, all
	}
	if err != nil {
		return nil, err
	}
	c.Files, c.names = []string{path}, []string{path}
	return c, nil
}

func besideExecutable(name string) string {
	exe, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(exe), name)
}

// Drivers returns the kinds of drivers that links use, sorted.
func (c *Config) Drivers() []string {
	var kinds []string
	for _, l := range c.Links {
		kinds = append(kinds, l.Driver)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// Process returns how the processes of a driver are run.
func (c *Config) Process(driver string) Process {
	if p, ok := c.processes[driver]; ok {
		return p
	}
	return c.process
}

// Secrets returns every secret that links name, each once, in the order of the files.
func (c *Config) Secrets() []Secret { return slices.Clone(c.secrets) }

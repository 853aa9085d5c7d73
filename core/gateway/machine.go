package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway/internal/reach"
	"github.com/fieldloom/fieldloom/core/pack"
)

// machine looks for what links name on this machine. It may not be the machine that the
// configuration is for, so what is missing is a warning.
type machine struct {
	config   *config.Config
	manifest func(kind string) *pack.Manifest // of a driver's package; nil: not known
	now      time.Time

	ports    map[string]*config.Link // that the first link with it has
	faults   []error                 // wrong on every machine
	warnings []string
	told     map[string]bool
}

// look goes through the settings of all links and devices.
func (m *machine) look() {
	m.ports, m.told = make(map[string]*config.Link), make(map[string]bool)
	for _, l := range m.config.Links {
		files := &pemFiles{now: m.now}
		manifest := cmp.Or(m.manifest(l.Driver), &pack.Manifest{Name: l.Driver})
		reach.Endpoints(l, manifest, func(_ reach.Setting, e pack.Endpoint, _ error) {
			if e.Path != "" {
				m.path(l, e, e.Over == pack.OverSerial && manifest.Wants.Serial, files)
			}
		})
		for _, text := range files.doubts() {
			m.warn(l, text)
		}
	}
	m.warnings = append(m.warnings, certificates(m.config, m.now)...)
}

// path looks at what may be the path of a file, or of a serial port.
func (m *machine) path(l *config.Link, e pack.Endpoint, isPort bool, files *pemFiles) {
	path := e.Path
	info, err := os.Stat(path)
	switch {
	case isPort:
		m.port(l, path, err)
	case errors.Is(err, fs.ErrNotExist):
		if isPEM(path) || pathIsMeant(path) {
			m.warn(l, fmt.Sprintf("there is no file %s on this machine", path))
		}
	case err != nil:
		m.warn(l, fmt.Sprintf("%s cannot be looked at: %v", path, err))
	case info.Mode().IsRegular():
		if err := files.add(path); err != nil {
			m.warn(l, err.Error())
		}
	}
}

// port notes who has a serial port: two links on one port are wrong, by whatever names
// they call it.
func (m *machine) port(l *config.Link, path string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		m.warn(l, fmt.Sprintf("there is no serial port %s on this machine", path))
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	first := m.ports[path]
	switch {
	case first == nil:
		m.ports[path] = l
	case first != l:
		m.faults = append(m.faults, m.config.LinkFault(l, fmt.Sprintf("the serial port %s is that of link %s already: a port has one link: put the devices of both on it", path, first.Name)))
	}
}

// pathIsMeant reports whether a text with a slash in front is likely to be a path: its
// directory is there. It may be a topic, too.
func pathIsMeant(path string) bool {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	return err == nil && info.IsDir() && dir != "/"
}

func isPEM(path string) bool {
	return slices.Contains([]string{".pem", ".crt", ".cer", ".key"}, strings.ToLower(filepath.Ext(path)))
}

// warn adds a warning at the link, once.
func (m *machine) warn(l *config.Link, text string) {
	if line := m.config.LinkFault(l, text).Error(); !m.told[line] {
		m.told[line] = true
		m.warnings = append(m.warnings, line)
	}
}

// Package machine looks for what a configuration names on the machine that it runs on: serial
// ports, files, certificates.
package machine

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

// Look looks for what links name. This may not be the machine that the configuration is for,
// so what is missing is a warning; faults are wrong on every machine. manifest is that of a
// driver's package, or nil where it is not known.
func Look(c *config.Config, manifest func(driverName string) *pack.Manifest, now time.Time) (faults []error, warnings []string) {
	s := &search{config: c, manifest: manifest, now: now}
	s.look()
	return s.faults, s.warnings
}

// search is one look.
type search struct {
	config   *config.Config
	manifest func(driverName string) *pack.Manifest // of a driver's package; nil: not known
	now      time.Time

	ports    map[string]*config.Link // that the first link with it has
	faults   []error                 // wrong on every machine
	warnings []string
	told     map[string]bool
}

// look goes through the settings of all links and devices.
func (s *search) look() {
	s.ports, s.told = make(map[string]*config.Link), make(map[string]bool)
	for _, l := range s.config.Links {
		files := &pemFiles{now: s.now}
		manifest := cmp.Or(s.manifest(l.Driver), &pack.Manifest{Name: l.Driver})
		reach.Endpoints(l, manifest, func(_ reach.Setting, e pack.Endpoint, _ error) {
			if e.Path != "" {
				s.path(l, e, e.Over == pack.OverSerial && manifest.Wants.Serial, files)
			}
		})
		for _, text := range files.doubts() {
			s.warn(l, text)
		}
	}
	s.warnings = append(s.warnings, Certificates(s.config, s.now)...)
}

// path looks at what may be the path of a file, or of a serial port.
func (s *search) path(l *config.Link, e pack.Endpoint, isPort bool, files *pemFiles) {
	path := e.Path
	info, err := os.Stat(path)
	switch {
	case isPort:
		s.port(l, path, err)
	case errors.Is(err, fs.ErrNotExist):
		if isPEM(path) || pathIsMeant(path) {
			s.warn(l, fmt.Sprintf("there is no file %s on this machine", path))
		}
	case err != nil:
		s.warn(l, fmt.Sprintf("%s cannot be looked at: %v", path, err))
	case info.Mode().IsRegular():
		if err := files.add(path); err != nil {
			s.warn(l, err.Error())
		}
	}
}

// port notes who has a serial port: two links on one port are wrong, by whatever names
// they call it.
func (s *search) port(l *config.Link, path string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		s.warn(l, fmt.Sprintf("there is no serial port %s on this machine", path))
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	first := s.ports[path]
	switch {
	case first == nil:
		s.ports[path] = l
	case first != l:
		s.faults = append(s.faults, s.config.LinkFault(l, fmt.Sprintf("the serial port %s is that of link %s already: a port has one link: put the devices of both on it", path, first.Name)))
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
func (s *search) warn(l *config.Link, text string) {
	if line := s.config.LinkFault(l, text).Error(); !s.told[line] {
		s.told[line] = true
		s.warnings = append(s.warnings, line)
	}
}

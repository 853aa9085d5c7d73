package configure

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/durable"
)

// The copy of the last good configuration is a directory in the data directory, to which a
// symbolic link leads: the link is replaced at once, so that no half of a copy is ever found.
const (
	goodLink   = "good"
	goodPrefix = "good-"
	goodNote   = "of" // the directory that it is a copy of, and when it was put in force
)

// A Good is the copy of the configuration that was in force last.
type Good struct {
	Path  string // where it lies
	Saved time.Time
	files map[string][]byte
}

// LastGood finds the copy of the last good configuration of dir; nil: there is none. It
// reads no more of fieldloom.yaml than where the data are: the file may be wrong.
func LastGood(dir string) *Good {
	for _, data := range dataDirs(dir) {
		if g, err := readGood(data, dir); err == nil {
			return g
		}
	}
	return nil
}

// Config loads the copy, as the configuration of the directory that it is of.
func (g *Good) Config(dir string) (*config.Config, error) {
	return config.LoadFiles(dir, g.files)
}

// keptOf is the files of the last good configuration of dir.
func keptOf(dir string) func() map[string][]byte {
	return func() map[string][]byte {
		if g := LastGood(dir); g != nil {
			return g.files
		}
		return nil
	}
}

var dataKey = regexp.MustCompile(`(?m)(?:^|[{,])\s*["']?data["']?\s*:\s*["']?([^"'#,}\n]+)`)

// dataDirs are the directories where the data of dir's gateway may be.
func dataDirs(dir string) []string {
	list := []string{config.DefaultData}
	if text, err := os.ReadFile(filepath.Join(dir, config.MainFile)); err == nil {
		for _, found := range dataKey.FindAllSubmatch(text, 10) {
			list = append(list, strings.TrimSpace(string(found[1])))
		}
	}
	if state := os.Getenv("STATE_DIRECTORY"); state != "" { // of the systemd unit
		list = append(list, state, filepath.Join(state, config.DefaultData))
	}
	slices.Reverse(list) // what is the default last
	for i, path := range list {
		if !filepath.IsAbs(path) {
			list[i] = filepath.Join(dir, path)
		}
	}
	return list
}

func readGood(data, dir string) (*Good, error) {
	path := filepath.Join(data, goodLink)
	note, err := os.ReadFile(filepath.Join(path, goodNote))
	if err != nil {
		return nil, err
	}
	of, at, _ := strings.Cut(strings.TrimSuffix(string(note), "\n"), "\n")
	if here, err := filepath.Abs(dir); err != nil || of != here {
		return nil, fmt.Errorf("%s is a copy of %s", path, of)
	}
	g := &Good{Path: path, files: make(map[string][]byte)}
	if g.Saved, err = time.Parse(time.RFC3339, at); err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(path, config.LinksDir, "*.yaml"))
	for _, name := range append(names, filepath.Join(path, config.MainFile)) {
		text, readErr := os.ReadFile(name)
		err = errors.Join(err, readErr)
		short, relErr := filepath.Rel(path, name)
		err = errors.Join(err, relErr)
		g.files[filepath.ToSlash(short)] = text
	}
	return g, err
}

// saveGood keeps the files of a configuration that was put in force, durably and as a whole.
// Where the copy is the same nothing is written.
func saveGood(data, dir string, files map[string][]byte, now time.Time) error {
	if old, err := readGood(data, dir); err == nil && maps.EqualFunc(old.files, files, func(a, b []byte) bool { return string(a) == string(b) }) {
		return nil
	}
	here, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	into, err := os.MkdirTemp(data, goodPrefix)
	if err != nil {
		return err
	}
	if err := fillGood(data, into, here, files, now); err != nil {
		return errors.Join(err, os.RemoveAll(into))
	}
	return removeGood(data, filepath.Base(into))
}

func fillGood(data, into, here string, files map[string][]byte, now time.Time) error {
	if err := os.Mkdir(filepath.Join(into, "links"), 0o700); err != nil {
		return err
	}
	for name, text := range files {
		if err := durable.Create(filepath.Join(into, filepath.FromSlash(name)), text); err != nil {
			return err
		}
	}
	if err := durable.Create(filepath.Join(into, goodNote), fmt.Appendf(nil, "%s\n%s\n", here, now.UTC().Format(time.RFC3339))); err != nil {
		return err
	}
	if err := errors.Join(durable.SyncDir(filepath.Join(into, "links")), durable.SyncDir(into)); err != nil {
		return err
	}
	next := filepath.Join(data, "."+goodLink)
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Base(into), next); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(data, goodLink)); err != nil {
		return err
	}
	return durable.SyncDir(data)
}

// removeGood removes every copy but one.
func removeGood(data, but string) error {
	entries, err := os.ReadDir(data)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), goodPrefix) && e.Name() != but {
			err = errors.Join(err, os.RemoveAll(filepath.Join(data, e.Name())))
		}
	}
	return err
}

// A Start is a configuration to start a gateway with: what the files say, those that are
// wrong set aside, or the last good one where that is not possible.
type Start struct {
	Config *config.Config
	draft  *config.Draft // nil: the last good configuration
	good   *Good         // with refused
	why    *RefusedError // why the files are not in force
}

// Load loads what a gateway starts with. An error is a *RefusedError: the files are wrong, and
// there is no last good configuration.
func Load(dir string) (*Start, error) {
	s := &Start{draft: config.ReadDraft(dir, keptOf(dir))}
	c, err := s.draft.Load()
	if err == nil {
		err = s.vanishing(c)
	}
	if err != nil {
		return FallBack(dir, RefusedBy(err))
	}
	s.Config = c
	return s, nil
}

// vanishing refuses a configuration of which a file was set aside and a link is gone: it may
// be in that file now.
func (s *Start) vanishing(c *config.Config) error {
	if len(s.draft.Aside()) == 0 {
		return nil
	}
	return vanished(s.draft, lastGood(c.Dir), c)
}

// lastGood is the last good configuration of dir; nil: there is none that can be used.
func lastGood(dir string) *config.Config {
	good := LastGood(dir)
	if good == nil {
		return nil
	}
	c, err := good.Config(dir)
	if err != nil {
		return nil
	}
	return c
}

// vanished refuses a configuration of which files are set aside and that lacks a link of old,
// which may be nil.
func vanished(d *config.Draft, old, next *config.Config) error {
	if len(d.Aside()) == 0 || old == nil {
		return nil
	}
	for _, l := range old.Links {
		if !slices.ContainsFunc(next.Links, func(n *config.Link) bool { return n.Name == l.Name }) {
			faults := d.Faults().Unwrap()
			gone := fmt.Sprintf("link %s is gone, perhaps into a file that is wrong: mend that first", l.Name)
			return &RefusedError{Causes: append(faults, &driver.ConfigError{Text: gone})}
		}
	}
	return nil
}

// FallBack is the last good configuration in the place of one that is refused.
func FallBack(dir string, why *RefusedError) (*Start, error) {
	good := LastGood(dir)
	if good == nil {
		return nil, why
	}
	c, err := good.Config(dir)
	if err != nil {
		return nil, why
	}
	return &Start{Config: c, good: good, why: why}, nil
}

// asideOf says of each file that was set aside what became of its links.
func asideOf(d *config.Draft) []string {
	var list []string
	aside := d.Aside()
	for _, name := range slices.Sorted(maps.Keys(aside)) {
		if aside[name] {
			list = append(list, name+": its links go on as they were")
		} else {
			list = append(list, name+": it is left out: no earlier version of it is known")
		}
	}
	return list
}

// OfFiles reports whether it is what the files say, and not the last good configuration.
func (s *Start) OfFiles() bool { return s.draft != nil }

// Refused is why neither the files nor the last good configuration can be in force.
func (s *Start) Refused(err *RefusedError) *RefusedError {
	return &RefusedError{Causes: append(slices.Clone(s.why.Causes), err.Causes...)}
}

package samples

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/stream"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// plantDir is a data directory in which every sample's value says of which point it is.
type plantDir struct {
	t     *testing.T
	dir   string
	paths []string // by value
	seq   uint64
	found []string // what the last opening said
}

// files is the content of a data directory.
type files map[string][]byte

func (p *plantDir) capture() files {
	p.t.Helper()
	all := files{}
	for _, pattern := range []string{"state.db*", "spool/*"} {
		list, err := filepath.Glob(filepath.Join(p.dir, pattern))
		if err != nil {
			p.t.Fatal(err)
		}
		for _, path := range list {
			b, err := os.ReadFile(path)
			if err != nil {
				p.t.Fatal(err)
			}
			name, _ := filepath.Rel(p.dir, path)
			all[name] = b
		}
	}
	return all
}

func (p *plantDir) restore(all files) *plantDir {
	p.t.Helper()
	to := &plantDir{t: p.t, dir: p.t.TempDir(), paths: slices.Clone(p.paths), seq: p.seq}
	if err := os.Mkdir(filepath.Join(to.dir, "spool"), 0o700); err != nil {
		p.t.Fatal(err)
	}
	for name, b := range all {
		if err := os.WriteFile(filepath.Join(to.dir, name), b, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	return to
}

// run opens the directory with devices, stores a sample of each of their points, and reads
// everything that is stored.
func (p *plantDir) run(devices ...string) (named, unnamed int) {
	p.t.Helper()
	d, err := datadir.Open(p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	c, err := d.OpenCatalog(slog.New(slog.DiscardHandler))
	if err != nil {
		p.t.Fatal(err)
	}
	p.found = d.Lost
	text := ""
	for _, name := range devices {
		text += name + `: {points: {u: {address: "1"}, ` + name + `: {address: "2"}}}, `
	}
	cfg, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte("links: {line1: {driver: modbus, devices: {" + text + "}}}\n")})
	if err != nil {
		p.t.Fatal(err)
	}
	states, err := c.States(cfg, 1)
	if err != nil {
		p.t.Fatal(err)
	}
	s, err := spool.Open(filepath.Join(p.dir, "spool"), spool.Options{CommitEvery: time.Microsecond, Names: spool.NamesID(c.ID())})
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for _, dev := range states["modbus"].Links[0].Devices {
		p.store(s, &dev)
	}
	sink := newSink(0)
	w := New(inforce.NewCurrent(cfg, time.Now()), stream.Store{Spool: s, Catalog: c}, nil)
	if err := w.Watch(p.t.Context(), client.WatchOptions{Replay: true}, sink); err != nil {
		p.t.Fatal(err)
	}
	for i := range sink.samples {
		got := &sink.samples[i]
		if got.Fault != nil {
			var n int
			if _, err := fmt.Sscanf(got.Fault.Text, "%d samples of points that are not known any more", &n); err != nil || got.Quality == driver.Good {
				p.t.Fatalf("told %q", got.Fault.Text)
			}
			unnamed += n
			continue
		}
		named++
		if want := p.paths[int(got.Value.Float64())]; got.Device+"/"+got.Point != want {
			p.t.Fatalf("a sample of %s is named %s/%s/%s", want, got.Link, got.Device, got.Point)
		}
	}
	if named+unnamed != len(p.paths) {
		p.t.Fatalf("%d samples are named and %d are not, of %d", named, unnamed, len(p.paths))
	}
	return named, unnamed
}

func (p *plantDir) store(s *spool.Spool, dev *control.Device) {
	n := float64(len(p.paths))
	for i := range dev.Table.Points {
		p.paths = append(p.paths, dev.Name+"/"+dev.Table.Points[i].Name)
	}
	batch := &frame.Batch{Blocks: []frame.Block{{Runs: []uint32{dev.FirstHandle, 2}, Time: 1, Kind: driver.KindFloat64, Floats: []float64{n, n + 1}}}}
	p.seq++
	done := make(chan error, 1)
	s.Append(spool.Record{Driver: "modbus", Epoch: 1, Sequence: p.seq, Stored: time.Now(), Data: wire.AppendFrame(nil, p.seq, batch, nil)},
		func(err error) { done <- err })
	if err := <-done; err != nil {
		p.t.Fatal(err)
	}
}

func newPlantDir(t *testing.T) (p *plantDir, older, now files) {
	t.Helper()
	p = &plantDir{t: t, dir: t.TempDir()}
	p.run("a", "b")
	older = p.capture()
	p.run("c", "b", "d")
	var many []string
	for i := range 60 {
		many = append(many, fmt.Sprintf("e%d", i))
	}
	p.run(many...)
	return p, older, p.capture()
}

// Whatever is lost of what names the samples, or comes back from before, or from another
// gateway: none is named wrongly, and what the names are kept of is named.
func TestLostStateNamesNothingWrongly(t *testing.T) {
	p, older, now := newPlantDir(t)
	foreign := &plantDir{t: t, dir: t.TempDir()}
	foreign.run("x", "y", "z")
	other := foreign.capture()
	all := len(p.paths)
	for _, tc := range []struct {
		name    string
		change  func(f files)
		unnamed bool // samples may be
		told    bool
	}{
		{"nothing", func(files) {}, false, false},
		{"state.db is lost", func(f files) { delete(f, "state.db") }, false, true},
		{"and its copy", func(f files) { delete(f, "state.db"); delete(f, "state.db.copy") }, false, true},
		{"state.db is from before", func(f files) { f["state.db"] = older["state.db"] }, false, true},
		{"and its copy too", func(f files) { f["state.db"], f["state.db.copy"] = older["state.db"], older["state.db.copy"] }, false, true},
		{"the names are lost", func(f files) { delete(f, "spool/names") }, false, false},
		{"the names are from before", func(f files) { f["spool/names"] = older["spool/names"] }, false, false},
		{"the names are another's", func(f files) { f["spool/names"] = other["spool/names"] }, false, true},
		{"state.db is another's", func(f files) { f["state.db"], f["state.db.copy"] = other["state.db"], other["state.db.copy"] }, false, true},
		{"state.db and the names are lost", func(f files) {
			maps.DeleteFunc(f, func(name string, _ []byte) bool { return strings.HasPrefix(name, "state.db") || name == "spool/names" })
		}, true, true},
		{"state.db and the names are another's", func(f files) {
			f["state.db"], f["state.db.copy"], f["spool/names"] = other["state.db"], other["state.db.copy"], other["spool/names"]
		}, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := maps.Clone(now)
			tc.change(changed)
			q := p.restore(changed)
			q.t = t
			named, unnamed := q.run("n1", "a", "n2")
			if !tc.unnamed && unnamed > 0 || tc.unnamed && unnamed != all || named+unnamed != all+6 {
				t.Errorf("%d are named and %d are not", named, unnamed)
			}
			if tc.told != (len(q.found) > 0) {
				t.Errorf("told %q", q.found)
			}
			q.run("n3", "n1") // and once more
		})
	}
}

// Every damage of a page of state.db, with its copy and without: the gateway starts, and no
// sample is named wrongly.
func TestFaultEveryDamageOfTheState(t *testing.T) {
	const pageSize = 4096
	p, older, now := newPlantDir(t)
	state, before := now["state.db"], older["state.db"]
	kinds := map[string]func(b []byte, page int) []byte{
		"flipped": func(b []byte, page int) []byte {
			b[page*pageSize+rand.IntN(pageSize)] ^= 1 << rand.IntN(8)
			return b
		},
		"flipped in its head": func(b []byte, page int) []byte { b[page*pageSize+rand.IntN(80)] ^= 1 << rand.IntN(8); return b },
		"zeroed":              func(b []byte, page int) []byte { clear(b[page*pageSize : (page+1)*pageSize]); return b },
		"cut":                 func(b []byte, page int) []byte { return b[:page*pageSize+rand.IntN(pageSize)] },
		"swapped with an older copy": func(b []byte, page int) []byte {
			if len(before) >= (page+1)*pageSize {
				copy(b[page*pageSize:(page+1)*pageSize], before[page*pageSize:])
			}
			return b
		},
	}
	rounds := 1
	if chaos {
		rounds = 1 + 500/(len(kinds)*len(state)/pageSize*3)
	}
	n, told := 0, 0
	for range rounds {
		for kind, spoil := range kinds {
			for page := range len(state) / pageSize {
				for _, without := range [][]string{nil, {"state.db.copy"}, {"state.db.copy", "spool/names"}} {
					if !chaos && rand.IntN(6) > 0 {
						continue
					}
					n++
					damaged := maps.Clone(now)
					damaged["state.db"] = spoil(bytes.Clone(state), page)
					for _, name := range without {
						delete(damaged, name)
					}
					q := p.restore(damaged)
					_, unnamed := q.run("n1", "b", "n2")
					told += min(1, len(q.found))
					if unnamed > 0 && len(without) < 2 {
						t.Fatalf("page %d %s, without %v: %d are not named", page, kind, without, unnamed)
					}
				}
			}
		}
	}
	t.Logf(`{"fault":"a page of state.db damaged, then samples read","rounds":%d,"told":%d,"panics":0,"named_wrongly":0}`, n, told)
}

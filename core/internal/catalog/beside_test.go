package catalog_test

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

	bolt "go.etcd.io/bbolt"

	"github.com/fieldloom/fieldloom/core/internal/catalog"
)

// gateway is a database and a file of names beside what is stored, and the witness of
// all handles that were ever given out.
type gateway struct {
	t     testing.TB
	dir   string
	c     *catalog.Catalog
	close func()
	given map[catalog.ID]map[uint32]catalog.Path
}

func newGateway(t testing.TB) *gateway {
	g := &gateway{t: t, dir: t.TempDir(), given: map[catalog.ID]map[uint32]catalog.Path{}}
	t.Cleanup(func() { g.close() })
	if err := os.Mkdir(filepath.Join(g.dir, "spool"), 0o700); err != nil {
		t.Fatal(err)
	}
	g.open(false)
	if err := os.WriteFile(filepath.Join(g.dir, "spool", "1.log"), nil, 0o600); err != nil { // something is stored
		t.Fatal(err)
	}
	return g
}

func (g *gateway) path(name string) string { return filepath.Join(g.dir, name) }

const namesFile = "spool/names"

func (g *gateway) open(restored bool) {
	g.t.Helper()
	db, err := bolt.Open(g.path("state.db"), 0o600, &bolt.Options{NoSync: true, NoFreelistSync: true})
	if err != nil {
		g.t.Fatal(err)
	}
	g.close = func() { _ = db.Close() }
	g.c, err = catalog.OpenBeside(db, catalog.Beside{Path: g.path(namesFile), Restored: restored, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		g.t.Fatal(err)
	}
}

// configure gives out handles and notes them.
func (g *gateway) configure(text string) map[string]uint32 {
	g.t.Helper()
	s := states(g.t, g.c, text)
	id := g.c.ID()
	if g.given[id] == nil {
		g.given[id] = map[uint32]catalog.Path{}
	}
	for _, state := range s {
		for _, l := range state.Links {
			for _, d := range l.Devices {
				for i := range d.Table.Points {
					at, h := catalog.Path{Link: l.Name, Device: d.Name, Point: d.Table.Points[i].Name}, d.FirstHandle+uint32(i)
					if was, ok := g.given[id][h]; ok && was != at {
						g.t.Fatalf("handle %d is given to %v and was given to %v", h, at, was)
					}
					g.given[id][h] = at
				}
			}
		}
	}
	return firsts(s)
}

// check looks up every handle that was ever given out; a wrong name is an error.
func (g *gateway) check() (known, unknown int) {
	g.t.Helper()
	for id, handles := range g.given {
		of := g.c.Of(id)
		for h, want := range handles {
			got, ok := of.Lookup(h)
			got.Unit = ""
			switch {
			case !ok:
				unknown++
			case got != want:
				g.t.Fatalf("handle %d of %x is %v and was given to %v", h, id, got, want)
			default:
				known++
			}
		}
	}
	return known, unknown
}

func (g *gateway) read(name string) []byte {
	g.t.Helper()
	b, err := os.ReadFile(g.path(name))
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

func (g *gateway) write(name string, b []byte) {
	g.t.Helper()
	if err := os.WriteFile(g.path(name), b, 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func one(devices string) string {
	return "links: {line1: {driver: modbus, devices: {" + devices + "}}}\n"
}

const (
	deviceA = `a: {points: {u: {address: "1", unit: V}, i: {address: "2"}}}`
	deviceB = `b: {points: {p: {address: "1"}, q: {address: "2"}}}`
	deviceC = `c: {points: {x: {address: "1"}, y: {address: "2"}}}`
)

func TestALostDatabaseGivesNoHandleTwice(t *testing.T) {
	g := newGateway(t)
	before := g.configure(one(deviceA + ", " + deviceB))
	g.close()
	if err := os.Remove(g.path("state.db")); err != nil {
		t.Fatal(err)
	}
	g.open(false)
	after := g.configure(one(deviceC + ", " + deviceB))
	if after["line1/b"] != before["line1/b"] || after["line1/c"] <= before["line1/b"]+1 {
		t.Errorf("before %v, after %v", before, after)
	}
	if known, unknown := g.check(); unknown > 0 || known != 6 {
		t.Errorf("%d known, %d unknown", known, unknown)
	}
	if p, _ := g.c.Lookup(before["line1/a"]); p.Unit != "V" {
		t.Errorf("the unit is lost: %v", p)
	}
}

func TestAnOlderDatabaseGivesNoHandleTwice(t *testing.T) {
	g := newGateway(t)
	g.configure(one(deviceA))
	g.close()
	older := g.read("state.db")
	g.open(false)
	g.configure(one(deviceA + ", " + deviceB))
	g.close()
	g.write("state.db", older)
	g.open(false)
	g.configure(one(deviceC))
	if known, unknown := g.check(); unknown > 0 || known != 6 {
		t.Errorf("%d known, %d unknown", known, unknown)
	}
}

// The database of another gateway has the same handles for other points.
func TestAnotherGatewaysDatabase(t *testing.T) {
	g, other := newGateway(t), newGateway(t)
	g.configure(one(deviceA))
	other.configure(one(deviceB))
	g.close()
	other.close()
	id := g.c.ID()
	g.write("state.db", other.read("state.db"))
	g.open(false)
	if g.c.ID() == id {
		t.Error("it took the ID of the other")
	}
	g.configure(one(deviceB))
	if known, unknown := g.check(); unknown > 0 || known != 4 {
		t.Errorf("%d known, %d unknown", known, unknown)
	}
	other.open(false)
}

func TestLostNamesBesideALostDatabase(t *testing.T) {
	g := newGateway(t)
	before := g.configure(one(deviceA))
	g.close()
	for _, name := range []string{"state.db", namesFile} {
		if err := os.Remove(g.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	g.open(false)
	after := g.configure(one(deviceC))
	if known, unknown := g.check(); known != 2 || unknown != 2 {
		t.Errorf("%d known, %d unknown", known, unknown)
	}
	// A driver that outlived the old catalog sends its handles still.
	if p, ok := g.c.Lookup(before["line1/a"]); ok {
		t.Errorf("handle %d is %v", before["line1/a"], p)
	}
	if after["line1/c"] < 1<<20 {
		t.Errorf("handles begin at %d", after["line1/c"])
	}
	if _, ok := g.c.Of(catalog.ID{}).Lookup(1); ok {
		t.Error("what was stored without an ID is named")
	}
}

// What a version without IDs stored is of the catalog that it left.
func TestWhatWasStoredWithoutAnID(t *testing.T) {
	g := newGateway(t)
	g.close()
	for _, name := range []string{"state.db", namesFile} {
		if err := os.Remove(g.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	db, err := bolt.Open(g.path("state.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, db)
	first := firsts(states(t, c, one(deviceA)))["line1/a"]
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		if p, ok := g.c.Of(catalog.ID{}).Lookup(first); !ok || p.Device != "a" {
			t.Errorf("it is %v", p)
		}
	}
	g.open(false)
	look()
	g.configure(one(deviceB))
	g.close()
	if err := os.Remove(g.path("state.db")); err != nil {
		t.Fatal(err)
	}
	g.open(false)
	look()
	g.check()
}

// Whatever is lost, damaged or restored, in whatever order, no handle of what is stored
// is named wrongly; while the names are whole, all are named.
func TestFaultNothingIsNamedWrongly(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for round := range rounds {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		g := newGateway(t)
		copies := [][]byte{}
		whole := true
		for range 12 {
			var devices []string
			for i := range 1 + rng.IntN(4) {
				devices = append(devices, fmt.Sprintf("d%d: {points: {p%d: {address: \"1\"}, q%d: {address: \"2\"}}}", 10*i+rng.IntN(6), rng.IntN(3), rng.IntN(3)))
			}
			g.configure(one(strings.Join(devices, ", ")))
			g.close()
			names := g.read(namesFile)
			restored := false
			switch rng.IntN(9) {
			case 0:
				copies = append(copies, g.read("state.db"))
			case 1:
				if len(copies) > 0 {
					g.write("state.db", copies[rng.IntN(len(copies))])
				}
			case 2:
				if err := os.Remove(g.path("state.db")); err != nil {
					t.Fatal(err)
				}
			case 3: // as a copy of it, made a moment before the last change
				restored = true
			case 4:
				if len(names) > 0 && rng.IntN(2) == 0 {
					names[rng.IntN(len(names))] ^= 1 << rng.IntN(8)
					g.write(namesFile, names)
					whole = false
				}
			case 5:
				if rng.IntN(2) == 0 {
					g.write(namesFile, names[:rng.IntN(len(names)+1)])
					whole = false
				}
			case 6:
				if rng.IntN(3) == 0 {
					if err := os.Remove(g.path(namesFile)); err != nil {
						t.Fatal(err)
					}
					whole = false
				}
			}
			g.open(restored)
			if _, unknown := g.check(); unknown > 0 && whole {
				t.Fatalf("round %d, seed %d: %d are not named", round, seed, unknown)
			}
		}
	}
}

// Every byte of the file of names is damaged in turn, and the database lost.
func TestFaultEveryByteOfTheNames(t *testing.T) {
	g := newGateway(t)
	g.configure(one(deviceA))
	g.configure(one(deviceA + ", " + deviceB))
	g.close()
	names := g.read(namesFile)
	given := g.given
	known := 0
	for at := 0; at < len(names); at += 3 {
		b := bytes.Clone(names)
		b[at] ^= 1 << rand.IntN(8)
		g.write(namesFile, b)
		_ = os.Remove(g.path("state.db")) // may be gone
		g.given = map[catalog.ID]map[uint32]catalog.Path{}
		for id, m := range given {
			g.given[id] = maps.Clone(m)
		}
		g.open(false)
		g.configure(one(deviceC))
		k, _ := g.check()
		known += k
		g.close()
	}
	if known == 0 {
		t.Error("nothing is ever known")
	}
	aside, _ := filepath.Glob(g.path(namesFile) + ".aside-*")
	if len(aside) == 0 || !slices.ContainsFunc(aside, func(path string) bool { return strings.Contains(path, "names.aside-") }) {
		t.Errorf("no damaged file is kept: %v", aside)
	}
	g.open(false)
}

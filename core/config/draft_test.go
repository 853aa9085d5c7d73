package config_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/config"
)

const oneLink = "links: {NAME: {driver: d, devices: {m: {points: {p: {address: a}}}}}}\n"

func linkFile(name string) string { return strings.Replace(oneLink, "NAME", name, 1) }

// A link file that is wrong costs its own links at most; what is about more than them is
// refused whole.
func TestDraftSetsAside(t *testing.T) {
	kept := map[string]string{"fieldloom.yaml": "gateway: g\n", "links/a.yaml": linkFile("a"), "links/b.yaml": linkFile("b1")}
	for _, tc := range []struct {
		name  string
		files map[string]string // in the place of kept's; empty: none
		kept  map[string]string
		links []string // nil: refused
		aside map[string]bool
	}{
		{name: "all well", links: []string{"a", "b1"}},
		{name: "no YAML", files: map[string]string{"links/b.yaml": "links: {b2: ["}, links: []string{"a", "b1"}, aside: map[string]bool{"links/b.yaml": true}},
		{name: "empty", files: map[string]string{"links/b.yaml": "# nothing\n"}, links: []string{"a", "b1"}, aside: map[string]bool{"links/b.yaml": true}},
		{name: "two of them", files: map[string]string{"links/a.yaml": "x", "links/b.yaml": "- y"}, links: []string{"a", "b1"},
			aside: map[string]bool{"links/a.yaml": true, "links/b.yaml": true}},
		{name: "a wrong key", files: map[string]string{"links/b.yaml": "link: {}\n"}, links: []string{"a", "b1"}, aside: map[string]bool{"links/b.yaml": true}},
		{name: "no such template", files: map[string]string{"links/b.yaml": "links: {b: {template: t}}\n"}, links: []string{"a", "b1"}, aside: map[string]bool{"links/b.yaml": true}},
		{name: "a new one", files: map[string]string{"links/c.yaml": "?"}, links: []string{"a", "b1"}, aside: map[string]bool{"links/c.yaml": false}},
		{name: "a second of a name", files: map[string]string{"links/c.yaml": linkFile("a")}, links: []string{"a", "b1"}, aside: map[string]bool{"links/c.yaml": false}},
		{name: "the other is new", files: map[string]string{"links/a.yaml": linkFile("a2"), "links/b.yaml": "?"}, links: []string{"a2", "b1"}, aside: map[string]bool{"links/b.yaml": true}},
		{name: "nothing is kept", files: map[string]string{"links/b.yaml": "?"}, kept: map[string]string{}, links: []string{"a"}, aside: map[string]bool{"links/b.yaml": false}},
		{name: "its earlier version is of no use", files: map[string]string{"links/b.yaml": "?"}, kept: map[string]string{"links/b.yaml": linkFile("a")}},
		{name: "the main file", files: map[string]string{"fieldloom.yaml": "gateway: [\n"}},
		{name: "both", files: map[string]string{"fieldloom.yaml": "colour: red\n", "links/b.yaml": "link: {}\n"}},
		{name: "it has templates", files: map[string]string{"links/b.yaml": "templates: {t: {}}\nlinks: {"}},
		{name: "it had templates", files: map[string]string{"links/b.yaml": "links: {"}, kept: map[string]string{"links/b.yaml": "templates: {t: {}}\n" + linkFile("b1")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			files := maps.Clone(kept)
			maps.Copy(files, tc.files)
			for name, text := range files {
				write(t, dir, name, text)
			}
			if tc.kept == nil {
				tc.kept = kept
			}
			d := config.ReadDraft(dir, func() map[string][]byte {
				old := make(map[string][]byte)
				for name, text := range tc.kept {
					old[name] = []byte(text)
				}
				return old
			})
			c, err := d.Load()
			if tc.links == nil {
				if err == nil {
					t.Fatalf("it was taken, without %v", d.Aside())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var links []string
			for _, l := range c.Links {
				links = append(links, l.Name)
			}
			slices.Sort(links)
			if diff := cmp.Diff(tc.links, links); diff != "" {
				t.Error(diff)
			}
			if tc.aside == nil {
				tc.aside = map[string]bool{}
			}
			if diff := cmp.Diff(tc.aside, d.Aside()); diff != "" || (len(tc.aside) > 0) != (len(d.Faults()) > 0) {
				t.Errorf("%s, faults %v", diff, d.Faults())
			}
			for _, f := range d.Faults() {
				if name, err := filepath.Rel(dir, f.File); err != nil || !strings.HasPrefix(name, "links") {
					t.Errorf("a fault of another file: %v", f)
				}
			}
			again, err := config.LoadFiles(dir, d.Files())
			if err != nil || len(again.Links) != len(links) {
				t.Errorf("its files make something else: %v, %v", again, err)
			}
		})
	}
}

// A link file that cannot be read is a file like any other that is wrong.
func TestDraftOfUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "fieldloom.yaml", "gateway: g\n")
	write(t, dir, "links/a.yaml", linkFile("a"))
	if err := os.Symlink("nowhere", filepath.Join(dir, "links/b.yaml")); err != nil {
		t.Fatal(err)
	}
	d := config.ReadDraft(dir, nil)
	if c, err := d.Load(); err != nil || len(c.Links) != 1 || len(d.Faults()) != 1 {
		t.Errorf("%v, %v, %v", c, err, d.Faults())
	}
}

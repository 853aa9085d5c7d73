package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
)

// plantDir makes a directory with a right configuration.
func plantDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "fieldloom.yaml", "gateway: g\nsocket: /run/g.sock\n")
	write(t, dir, "links/a.yaml", "links: {l: {driver: bare}}\n")
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestLoadDefaults(t *testing.T) {
	dir := plantDir(t)
	for _, ignored := range []string{"links/.hidden.yaml", "links/.a.yaml.swp", "links/README", "links/old.yaml~"} {
		write(t, dir, ignored, "not: [yaml")
	}
	c, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(filepath.Dir(exe), "drivers"); c.DriversDir != want {
		t.Errorf("drivers %s, want %s", c.DriversDir, want)
	}
	if c.Socket != "/run/g.sock" || len(c.Files) != 2 {
		t.Errorf("socket %s, files %q", c.Socket, c.Files)
	}
}

func TestLoadFollowsSymbolicLinks(t *testing.T) {
	dir := plantDir(t) // as a Kubernetes volume has them
	if err := os.Rename(filepath.Join(dir, "links"), filepath.Join(dir, "data1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("data1", filepath.Join(dir, "links")); err != nil {
		t.Fatal(err)
	}
	if c, err := config.Load(dir); err != nil || len(c.Links) != 1 {
		t.Errorf("%v, %v", c, err)
	}
}

func TestLoadWrongFiles(t *testing.T) {
	symlink := func(t *testing.T, target, path string) {
		t.Helper()
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string // after the directory
	}{
		{"missing", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "fieldloom.yaml")); err != nil {
				t.Fatal(err)
			}
		}, "fieldloom.yaml: is missing: create it, or name the directory that has it with --config"},
		{"yml", func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, "fieldloom.yaml"), filepath.Join(dir, "fieldloom.yml")); err != nil {
				t.Fatal(err)
			}
		}, "fieldloom.yaml: is missing, but there is fieldloom.yml: rename it"},
		{"link yml", func(t *testing.T, dir string) {
			write(t, dir, "links/b.yml", "")
		}, "links/b.yml: is not read: rename it to end in .yaml"},
		{"loop", func(t *testing.T, dir string) {
			symlink(t, "x.yaml", filepath.Join(dir, "links/x.yaml"))
		}, "links/x.yaml: is a symbolic link that leads back to itself: mend or remove it"},
		{"dangling", func(t *testing.T, dir string) {
			symlink(t, "gone", filepath.Join(dir, "links/x.yaml"))
		}, "links/x.yaml: does not exist, though its name does: mend or remove the symbolic link"},
		{"directory", func(t *testing.T, dir string) {
			write(t, dir, "links/x.yaml/y", "")
		}, "links/x.yaml: is a directory: put a file in its place"},
		{"device", func(t *testing.T, dir string) {
			symlink(t, "/dev/zero", filepath.Join(dir, "links/x.yaml"))
		}, "links/x.yaml: is a special file: put a file in its place"},
		{"overlong", func(t *testing.T, dir string) {
			write(t, dir, "links/x.yaml", "# "+strings.Repeat("x", 3<<20))
		}, "links/x.yaml: is longer than 2097152 bytes: use templates and ranges, or split it"},
		{"links is a file", func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "links")); err != nil {
				t.Fatal(err)
			}
			write(t, dir, "links", "")
		}, "links: cannot be read: not a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := plantDir(t)
			tc.spoil(t, dir)
			_, err := config.Load(dir)
			if err == nil || err.Error() != filepath.Join(dir, tc.want) {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestLoadUnreadable(t *testing.T) {
	dir := plantDir(t)
	path := filepath.Join(dir, "links/a.yaml")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(dir)
	if os.Geteuid() == 0 { // whom no mode keeps out
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if err == nil || err.Error() != path+": cannot be read: give the gateway's user the right to read it" {
		t.Errorf("error %v", err)
	}
}

func TestErrorsAreFound(t *testing.T) {
	_, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte("a: 1\nb: 2\n")})
	var all config.Errors
	var one *driver.ConfigError
	if !errors.As(err, &all) || len(all) != 2 || !errors.As(err, &one) || one.Line != 1 || one.Path != "a" {
		t.Errorf("%#v", err)
	}
}

var tight = config.Limits{File: 4000, Total: 5000, Files: 3, Links: 5, Devices: 10, Points: 100, Written: 50}

func TestLimits(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"links", "links: {\"l[1..6]\": {driver: bare}}", `1:9: links.l[1..6]: makes more than 5 links in all`},
		{"devices of a link", "links: {l: {driver: bare, devices: {\"m[1..11]\": {}}}}", "makes more than the 10 devices that there is room for"},
		{"devices of all", "links: {\"l[1..2]\": {driver: bare, devices: {\"m[1..6]\": {}}}}", "makes more than 10 devices in all"},
		{"points of a device", "links: {l: {driver: bare, devices: {m: {points: {\"p[1..51]\": {address: a}}}}}}", "makes more than the 50 points"},
		{"points of all", "links: {l: {driver: bare, devices: {\"m[1..9]\": {points: {\"p[1..12]\": {address: a}}}}}}", "makes more than 100 points in all"},
		{"points that differ", "links: {l: {driver: bare, devices: {\"m[1..9]\": {points: {\"p[1..9]\": {address: \"{d}\"}}}}}}", "more than 50 points that differ"},
		{"file", "gateway: g #" + strings.Repeat("x", 4000), "is longer than 4000 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := config.ParseWithin(map[string][]byte{"fieldloom.yaml": []byte(tc.text + "\n")}, tight)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	many := map[string][]byte{"fieldloom.yaml": []byte("gateway: g\n")}
	for _, name := range []string{"a", "b", "c"} {
		many["links/"+name+".yaml"] = []byte("links: {" + name + ": {driver: bare}} #" + strings.Repeat("x", 100))
	}
	if _, err := config.ParseWithin(many, tight); err == nil || err.Error() != "links/c.yaml: is one file too many, after 3: put several links in a file" {
		t.Errorf("files: %v", err)
	}
	delete(many, "links/c.yaml")
	for name := range many {
		many[name] = append(many[name], "# "+strings.Repeat("x", 2000)...)
	}
	want := "links/b.yaml: makes all files together longer than 5000 bytes: use templates and ranges"
	if _, err := config.ParseWithin(many, tight); err == nil || err.Error() != want {
		t.Errorf("total: %v", err)
	}
}

// The errors of a configuration that is wrong all over are bounded.
func TestManyErrors(t *testing.T) {
	text := "links:\n"
	for i := range 700 {
		text += "  l" + strings.Repeat("x", i%50) + string(rune('a'+i/50)) + ": {driver: bare, timeout: 1}\n"
	}
	_, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(text)})
	var all config.Errors
	if !errors.As(err, &all) || len(all) != 501 || all[500].Error() != "and 200 more: mend these first" {
		t.Errorf("%d errors", len(all))
	}
}

// The YAML parser takes the square of a map's length; guard keeps it from that.
func TestCostlyFiles(t *testing.T) {
	for name, text := range map[string]string{
		"keys":      strings.Repeat("a:\n", 30_000),
		"nested":    strings.Repeat("a:\n b:\n b:\n", 30_000),
		"sequences": strings.Repeat("- \n", 30_000),
		"deep":      strings.Repeat("- ", 30_000), "flow": strings.Repeat("[", 30_000), "maps": strings.Repeat("{a: ", 30_000),
		"documents": strings.Repeat("---\n", 30_000), "questions": strings.Repeat("? ", 30_000), "anchors": strings.Repeat("&a ", 30_000),
		"colons": strings.Repeat("a: ", 30_000),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(text)}); err == nil {
				t.Error("no error")
			}
		})
	}
}

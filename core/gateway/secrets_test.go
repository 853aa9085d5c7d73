package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
)

// put writes a file of a mode into dir.
func put(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "plain", "hunter2\n", 0o600)
	put(t, dir, "windows", "hunter2\r\n", 0o400)
	put(t, dir, "two", "a\nb\n\n", 0o600)
	put(t, dir, "open", "hunter2", 0o640)
	put(t, dir, "world", "hunter2", 0o604)
	put(t, dir, "empty", "\n", 0o600)
	put(t, dir, "huge", strings.Repeat("hunter2", maxSecret), 0o600)
	if err := os.Mkdir(filepath.Join(dir, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		code       driver.Code
		says       string
	}{
		{"plain", "hunter2", driver.OK, ""},
		{"windows", "hunter2", driver.OK, ""},
		{"two", "a\nb\n", driver.OK, ""},
		{"open", "", driver.Denied, "has mode 0640, so others than its owner can get at it: chmod 600"},
		{"world", "", driver.Denied, "has mode 0604"},
		{"empty", "", driver.NotFound, "is empty"},
		{"huge", "", driver.BadValue, "is longer than"},
		{"dir", "", driver.Denied, "is not a file"},
		{"pipe", "", driver.Denied, "is not a file"},
		{"none", "", driver.NotFound, "there is no file " + filepath.Join(dir, "none") + ": write one with mode 0600"},
	} {
		got, err := readSecret(dir, c.name)
		if string(got) != c.want || (err == nil) != (c.says == "") {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		if err == nil {
			continue
		}
		if driver.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v: %v", c.name, driver.CodeOf(err), err)
		}
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err := readSecret(dir, "plain"); driver.CodeOf(err) != driver.Denied || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a directory that others may write: %v", err)
	}
}

// A driver gets what its own link names, by its own driver's link, and nothing else.
func TestOnlyNamedSecretsAreGiven(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"broker", "pin", "other"} {
		put(t, dir, name, "hunter2-"+name, 0o600)
	}
	c, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(`
secrets: ` + dir + `
links:
  a: {driver: mqtt, password: "secret:broker", devices: {d: {tls: {pin: "secret:pin"}}}}
  b: {driver: mqtt, password: "no secret:other"}
  c: {driver: modbus, password: "secret:other"}
`)})
	if err != nil {
		t.Fatal(err)
	}
	s := &services{nil, inforce.NewCurrent(c, time.Time{}), "mqtt"}
	for _, q := range []struct {
		link, name string
		code       driver.Code
	}{
		{"a", "broker", driver.OK}, {"a", "pin", driver.OK}, {"a", "other", driver.Denied}, {"a", "", driver.Denied},
		{"a", "../" + filepath.Base(dir) + "/other", driver.Denied},
		{"b", "other", driver.Denied}, {"b", "broker", driver.Denied}, {"c", "other", driver.Denied}, {"nix", "broker", driver.Denied},
	} {
		value, err := s.Secret(t.Context(), q.link, q.name)
		if err == nil && (q.code != driver.OK || string(value) != "hunter2-"+q.name) || err != nil && driver.CodeOf(err) != q.code {
			t.Errorf("link %s asks for %q: %q, %v", q.link, q.name, value, err)
		}
	}
}

package launch

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
)

func TestDriversStore(t *testing.T) {
	d, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	current := inforce.NewCurrent(parsed(t, "links: {line1: {driver: modbus}, line2: {driver: modbus}, line3: {driver: mqtt}}\n"), time.Time{})
	ctx := t.Context()
	s, other := &Services{d.DB, current, "modbus"}, &Services{d.DB, current, "mqtt"}
	if v, err := s.StoreGet(ctx, "line1", "k"); v != nil || err != nil {
		t.Errorf("of nothing: %q, %v", v, err)
	}
	for key, value := range map[string]string{"k": "v", "empty": ""} {
		if err := s.StorePut(ctx, "line1", key, []byte(value)); err != nil {
			t.Fatal(err)
		}
		if v, err := s.StoreGet(ctx, "line1", key); v == nil || string(v) != value || err != nil {
			t.Errorf("%s: %q, %v", key, v, err)
		}
	}
	if v, _ := s.StoreGet(ctx, "line2", "k"); v != nil {
		t.Error("another link sees it")
	}
	if v, _ := other.StoreGet(ctx, "line1", "k"); v != nil {
		t.Error("another driver sees it")
	}
	if err := s.StorePut(ctx, "line1", "k", nil); err != nil {
		t.Fatal(err)
	}
	if v, _ := s.StoreGet(ctx, "line1", "k"); v != nil {
		t.Error("it is there after its deletion")
	}
	for name, err := range map[string]error{
		"no key":     s.StorePut(ctx, "line1", "", []byte("v")),
		"long key":   s.StorePut(ctx, "line1", strings.Repeat("k", 257), []byte("v")),
		"long value": s.StorePut(ctx, "line1", "k", bytes.Repeat([]byte("v"), 64<<10+1)),
	} {
		if driver.CodeOf(err) != driver.BadValue {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A driver cannot fill the disk with what it stores.
func TestDriversStoreIsSmall(t *testing.T) {
	d, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	d.DB.NoSync = true
	current := inforce.NewCurrent(parsed(t, "links: {line1: {driver: modbus}, line2: {driver: modbus}, line3: {driver: mqtt}}\n"), time.Time{})
	s, ctx := &Services{d.DB, current, "modbus"}, t.Context()
	fill := func(link string, value []byte) (n int) {
		for ; n < 10*maxStoreKeys; n++ {
			if err := s.StorePut(ctx, link, strconv.Itoa(n), value); driver.CodeOf(err) == driver.BadValue {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	if n := fill("line1", nil); n != 10*maxStoreKeys {
		t.Errorf("%d deletions", n)
	}
	if n := fill("line1", []byte("v")); n != maxStoreKeys {
		t.Errorf("%d small values", n)
	}
	if n := fill("line2", make([]byte, maxStoreValue)); n != maxStoreBytes/maxStoreValue-1 {
		t.Errorf("%d large values", n)
	}
	if err := s.StorePut(ctx, "line1", "0", []byte("another")); err != nil {
		t.Errorf("in the place of another value: %v", err)
	}
	for _, link := range []string{"line3", "nowhere"} {
		if err := s.StorePut(ctx, link, "k", []byte("v")); driver.CodeOf(err) != driver.Denied {
			t.Errorf("for link %s of another driver: %v", link, err)
		}
	}
}

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
	s := &Services{nil, inforce.NewCurrent(c, time.Time{}), "mqtt"}
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

package pack_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/pack"
)

// What ParseManifest takes, it writes and takes again as the same; what it refuses,
// it refuses on one line.
func FuzzManifest(f *testing.F) {
	at := signed(f, f.TempDir(), newPair(f))
	text, err := os.ReadFile(filepath.Join(at, pack.ManifestName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(draft))
	f.Add([]byte(`{"name":"a","name":"b"}`))
	f.Add([]byte(strings.Repeat(`{"schemas":`, 70)))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := pack.ParseManifest(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") || m != nil {
				t.Errorf("%q", err)
			}
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		second, err := pack.ParseManifest(again)
		if err != nil {
			t.Fatalf("%v in\n%s", err, again)
		}
		if diff := cmp.Diff(m, second); diff != "" {
			t.Error(diff)
		}
		for path := range m.Files {
			if !fs.ValidPath(path) || strings.Contains(path, "..") && strings.HasPrefix(path, ".") {
				t.Errorf("path %q", path)
			}
		}
		if m.Name == "" || m.Version == "" || m.Serial == 0 || len(m.Platforms) == 0 || strings.ContainsAny(m.ID(), "/\n") {
			t.Errorf("took %+v", m)
		}
	})
}

func FuzzTrust(f *testing.F) {
	key := newPair(f).public
	f.Add("keys:\n  - {key: " + key + ", drivers: [modbus, \"acme-*\"], comment: us}\n")
	f.Add("keys: []")
	f.Add("keys: &a [*a]")
	f.Add("[[[[[[[[{{{{{{{{")
	f.Fuzz(func(t *testing.T, text string) {
		trust, err := pack.ParseTrust("trust.yaml", []byte(text))
		if err != nil {
			if strings.Contains(err.Error(), "\n") || trust != nil {
				t.Errorf("%q", err)
			}
			return
		}
		if again, err := trust.Encode(); err != nil {
			t.Error(err)
		} else if _, err := pack.ParseTrust("again", again); err != nil {
			t.Errorf("%v in\n%s", err, again)
		}
	})
}

// No signature but the right one opens a package.
func FuzzSignature(f *testing.F) {
	by := newPair(f)
	at := signed(f, f.TempDir(), by)
	path := filepath.Join(at, pack.SignatureName)
	right, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	var want minisign.Signature
	if err := want.UnmarshalText(right); err != nil {
		f.Fatal(err)
	}
	f.Add(right)
	f.Add([]byte("untrusted comment: x\n\ntrusted comment: y\n\n"))
	trust := by.trust(f, "*")
	f.Fuzz(func(t *testing.T, text []byte) {
		write(t, path, string(text), 0o644)
		p, err := pack.Open(at, trust)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q", err)
			}
			return
		}
		var have minisign.Signature
		if err := have.UnmarshalText(text); err != nil || !have.Equal(want) || p.Unsigned {
			t.Errorf("opened with %q", text)
		}
	})
}

// An archive stays within its directory and its limits, whatever it holds.
func FuzzArchive(f *testing.F) {
	at := signed(f, f.TempDir(), newPair(f))
	var b bytes.Buffer
	if err := pack.Archive(at, &b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()/2])
	f.Fuzz(func(t *testing.T, text []byte) {
		parent := t.TempDir()
		into := filepath.Join(parent, "into")
		if err := os.Mkdir(into, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := pack.Unpack(bytes.NewReader(text), into); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q", err)
		}
		err := filepath.WalkDir(parent, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !e.IsDir() && !e.Type().IsRegular() || path != parent && !strings.HasPrefix(path, into) {
				t.Errorf("unpacked %s, %v", path, e.Type())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

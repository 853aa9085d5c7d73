package pack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/pack"
)

// A pair is a throw-away key pair.
type pair struct {
	public  string
	private []byte
}

func newPair(t testing.TB) pair {
	t.Helper()
	public, private, err := pack.Keygen(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair{public, private}
}

// trust lets the pair's key sign drivers.
func (p pair) trust(t testing.TB, drivers ...string) *pack.Trust {
	t.Helper()
	trust, err := pack.NewTrust(pack.TrustedKey{Key: p.public, Drivers: drivers, Comment: "tests"})
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

const draft = `{
  "name": "acme", "version": "1.2.3", "kind": "driver",
  "api": {"min": 1, "max": 1},
  "schemas": {"link": {"type": "object"}},
  "wants": {"tcp": [502], "files": ["/etc/acme"], "memory": 67108864}
}
`

const program = "#!/bin/sh\necho good\n"

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// assembled lays a package for this platform below dir; it is not signed.
func assembled(t testing.TB, dir, draft string) string {
	t.Helper()
	sources := t.TempDir()
	write(t, sources+"/driver.json", draft, 0o644)
	write(t, sources+"/program", program, 0o755)
	write(t, sources+"/LICENCE", "free\n", 0o644)
	at := filepath.Join(dir, "acme-1.2.3")
	if _, err := pack.Assemble(at, pack.Assembly{
		Draft:       sources + "/driver.json",
		Executables: map[string]string{pack.Platform(): sources + "/program"},
		Others:      map[string]string{"LICENCE": sources + "/LICENCE"},
	}); err != nil {
		t.Fatal(err)
	}
	return at
}

// signed is a whole package below dir.
func signed(t testing.TB, dir string, by pair) string {
	t.Helper()
	at := assembled(t, dir, draft)
	if err := pack.Sign(at, by.private, nil); err != nil {
		t.Fatal(err)
	}
	return at
}

func text(t testing.TB, f *os.File) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOpenSignedPackage(t *testing.T) {
	by := newPair(t)
	p, err := pack.Open(signed(t, t.TempDir(), by), by.trust(t, "ac*"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := pack.KeyID(by.public)
	if err != nil {
		t.Fatal(err)
	}
	if p.Unsigned || p.KeyID != id || p.Signer.Key != by.public || p.Signer.Comment != "tests" {
		t.Errorf("unsigned %v, key %s, signer %+v", p.Unsigned, p.KeyID, p.Signer)
	}
	if !strings.HasPrefix(p.Signer.Signed, "fieldloom driver acme 1.2.3 serial ") {
		t.Errorf("trusted comment %q", p.Signer.Signed)
	}
	m := p.Manifest
	want := pack.Wants{TCP: pack.Ports{List: []uint16{502}}, Files: []string{"/etc/acme"}, Memory: 64 << 20}
	if diff := cmp.Diff(want, m.Wants); diff != "" {
		t.Errorf("wants (-want +have):\n%s", diff)
	}
	if m.ID() != "acme-1.2.3" || m.Kind != pack.KindDriver || m.Serial == 0 || len(m.Files) != 2 || string(m.Schemas.Link) != `{"type":"object"}` {
		t.Errorf("manifest %+v", m)
	}
	f, err := p.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if have := text(t, f); have != program {
		t.Errorf("executable holds %q", have)
	}
}

func TestArchiveAndBack(t *testing.T) {
	by := newPair(t)
	at := signed(t, t.TempDir(), by)
	var first, second bytes.Buffer
	for _, w := range []io.Writer{&first, &second} {
		if err := pack.Archive(at, w); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two archives of one package differ")
	}
	write(t, filepath.Join(at, "notes", "a.txt"), "for nobody", 0o644)
	if err := pack.Archive(at, io.Discard); err == nil || !strings.Contains(err.Error(), "notes/a.txt: is not in the manifest") {
		t.Errorf("with a file that nobody signed: %v", err)
	}
	into := filepath.Join(t.TempDir(), "acme-1.2.3")
	if err := os.Mkdir(into, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := pack.Unpack(&first, into); err != nil {
		t.Fatal(err)
	}
	if _, err := pack.Open(into, by.trust(t, "acme")); err != nil {
		t.Error(err)
	}
}

// A small archive does not unpack to much before it is found to be none.
func TestSmallArchiveOfMuch(t *testing.T) {
	zeros := make([]byte, 8<<20)
	archive := func(files ...string) *bytes.Buffer {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		w := tar.NewWriter(zip)
		for _, name := range files {
			body := zeros
			if text, found := strings.CutPrefix(name, "manifest.json="); found {
				name, body = "manifest.json", []byte(text)
			}
			if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(body)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(body); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), zip.Close()); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	sum := strings.Repeat("0", 64)
	listing := func(size int) string {
		return fmt.Sprintf(`manifest.json={"name":"d","version":"1","kind":"driver","serial":1,"api":{"min":1,"max":1},"platforms":{"linux/amd64":"a"},`+
			`"files":{"a":{"sha256":%q,"size":%d,"mode":"0755"}}}`, sum, size)
	}
	for name, c := range map[string]struct {
		text *bytes.Buffer
		want string
	}{
		"no manifest":             {archive("a", "b", "c"), "does not come before"},
		"a manifest behind":       {archive("a", listing(8<<20)), "does not come before"},
		"what is not listed":      {archive(listing(8<<20), "b"), "b: is not in the manifest"},
		"more than is listed":     {archive(listing(5), "a"), "the manifest says 5"},
		"a manifest that is none": {archive("manifest.json={}", "a"), "manifest.json:1:1"},
		"what nobody signed":      {archive(listing(8<<20), "a"), "only signed packages are taken"},
	} {
		t.Run(name, func(t *testing.T) {
			into := t.TempDir()
			err := pack.Opener{Signed: true}.Unpack(c.text, into)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			total := int64(0)
			_ = filepath.WalkDir(into, func(_ string, e fs.DirEntry, err error) error {
				if info, infoErr := e.Info(); err == nil && infoErr == nil && !e.IsDir() {
					total += info.Size()
				}
				return nil
			})
			if total > 1<<20 {
				t.Errorf("%d bytes were unpacked", total)
			}
		})
	}
}

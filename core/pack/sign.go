package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"aead.dev/minisign"
)

// Sign signs the package in dir: it sets the modes of its files, writes their hashes
// and the next serial into the manifest, and writes the signature. The private key is
// the text of minisign's secret key file; password may be nil.
func Sign(dir string, private, password []byte) error { return SignAs(dir, private, password, 0) }

// SignAs is Sign with a serial of the caller's. 0 is the next one: the time in
// microseconds, or more when the manifest has more already.
func SignAs(dir string, private, password []byte, serial uint64) error {
	key, err := readPrivate(private, password)
	if err != nil {
		return err
	}
	if err := sign(dir, key, serial); err != nil {
		return fmt.Errorf("sign package %s: %w", filepath.Base(dir), err)
	}
	return nil
}

func sign(dir string, key minisign.PrivateKey, serial uint64) error {
	text, err := os.ReadFile(filepath.Join(dir, ManifestName))
	if err != nil {
		return err
	}
	r := &reader{name: ManifestName, draft: true}
	m, err := r.manifest(text)
	if err != nil {
		return err
	}
	if m.Serial = max(m.Serial+1, uint64(time.Now().UnixMicro())); serial > 0 {
		m.Serial = serial
	}
	if m.Files, err = listFiles(dir, m); err != nil {
		return err
	}
	if text, err = m.Encode(); err != nil {
		return err
	}
	if _, err := ParseManifest(text); err != nil { // what a gateway would say
		return err
	}
	signed := fmt.Sprintf("fieldloom %s %s %s serial %d", m.Kind, m.Name, m.Version, m.Serial)
	return writeSigned(dir, text, signed, key)
}

// writeSigned replaces manifest and signature, each as a whole.
func writeSigned(dir string, text []byte, comment string, key minisign.PrivateKey) error {
	reader := minisign.NewReader(bytes.NewReader(text)) // hashes first, as minisign does since 0.10
	if _, err := io.Copy(io.Discard, reader); err != nil {
		return err
	}
	signature := reader.SignWithComments(key, comment, "signature from key "+keyID(key.ID()))
	for name, content := range map[string][]byte{ManifestName: text, SignatureName: signature} {
		if err := replaceFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes a file beside the old one and renames it into place.
func replaceFile(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// listFiles hashes every file below dir, and sets modes that a gateway takes.
func listFiles(dir string, m *Manifest) (map[string]File, error) {
	files := map[string]File{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at, err := filepath.Rel(dir, path)
		if err != nil || at == ManifestName || at == SignatureName {
			return err
		}
		if e.IsDir() {
			return os.Chmod(path, 0o755)
		}
		if !e.Type().IsRegular() {
			return fmt.Errorf("%s: is not a plain file", plain(at))
		}
		if err := checkPath(at); err != nil {
			return err
		}
		files[at], err = listFile(path)
		return err
	})
	if err != nil {
		return nil, err
	}
	for platform, path := range m.Platforms {
		if f, ok := files[path]; !ok || f.Mode != 0o755 {
			return nil, fmt.Errorf("the executable %s for %s is not there, or may not be executed (chmod +x)", path, platform)
		}
	}
	return files, nil
}

func listFile(path string) (f File, err error) {
	from, err := os.Open(path)
	if err != nil {
		return f, err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return f, err
	}
	if f.Mode = 0o644; info.Mode()&0o100 != 0 {
		f.Mode = 0o755
	}
	if err := from.Chmod(f.Mode); err != nil {
		return f, err
	}
	hash := sha256.New()
	if f.Size, err = io.Copy(hash, from); err != nil {
		return f, err
	}
	hash.Sum(f.SHA256[:0])
	return f, nil
}

// An Assembly is what a package is made of.
type Assembly struct {
	Draft       string            // path of the author's manifest: no files, no serial; schemas may be paths beside it
	Executables map[string]string // "linux/amd64" to a path
	Others      map[string]string // path in the package to a path: licences, notes
	Version     string            // instead of the draft's; "": the draft's
}

// Assemble lays an unsigned package into the directory dir, which it makes, and
// returns its manifest. Sign makes it whole.
func Assemble(dir string, a Assembly) (*Manifest, error) {
	text, err := os.ReadFile(a.Draft)
	if err != nil {
		return nil, fmt.Errorf("assemble a package: %w", err)
	}
	r := &reader{name: a.Draft, draft: true, schema: schemaBeside(filepath.Dir(a.Draft))}
	m, err := r.manifest(text)
	if err != nil {
		return nil, fmt.Errorf("assemble a package: %w", err)
	}
	if a.Version != "" {
		if m.Version = a.Version; CheckVersion(a.Version) != nil {
			return nil, fmt.Errorf("assemble a package: %w", CheckVersion(a.Version))
		}
	}
	if len(a.Executables) == 0 {
		return nil, fmt.Errorf("assemble package %s: it has no executable", m.ID())
	}
	if err := layOut(dir, m, a); err != nil {
		return nil, fmt.Errorf("assemble package %s: %w", m.ID(), err)
	}
	return m, nil
}

func layOut(dir string, m *Manifest, a Assembly) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	files := map[string]string{}
	for path, from := range a.Others {
		files[path] = from
	}
	for platform, from := range a.Executables {
		if err := checkPlatform(platform); err != nil {
			return err
		}
		path := strings.ReplaceAll(platform, "/", "-") + "/driver-" + m.Name
		m.Platforms[platform], files[path] = path, from
	}
	for path, from := range files {
		if err := checkPath(path); err != nil {
			return err
		}
		if err := copyFile(filepath.Join(dir, filepath.FromSlash(path)), from); err != nil {
			return err
		}
	}
	m.Files = map[string]File{} // Sign lists them
	text, err := m.Encode()
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, ManifestName), text, 0o644)
}

func copyFile(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return err
	}
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode()&0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// schemaBeside reads a schema that a draft names by its path.
func schemaBeside(dir string) func(*value) (json.RawMessage, error) {
	return func(v *value) (json.RawMessage, error) {
		if err := checkPath(v.text); err != nil {
			return nil, err
		}
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(v.text)))
		if err != nil {
			return nil, err
		}
		if _, err := parseJSON(text); err != nil {
			return nil, place(v.text, text, err)
		}
		return compact(text), nil
	}
}

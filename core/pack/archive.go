package pack

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Archive writes the files of the package in dir as a tar.gz: the manifest first, the
// rest by name, without times or owners, so the same package is the same bytes.
func Archive(dir string, w io.Writer) error {
	if err := archive(dir, w); err != nil {
		return fmt.Errorf("archive package %s: %w", filepath.Base(dir), err)
	}
	return nil
}

func archive(dir string, w io.Writer) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return bare(err)
	}
	defer root.Close()
	text, err := root.ReadFile(ManifestName)
	if err != nil {
		return err
	}
	m, err := ParseManifest(text)
	if err != nil {
		return err
	}
	if err := nothingElse(root, m); err != nil {
		return err
	}
	zip := gzip.NewWriter(w)
	to := tar.NewWriter(zip)
	names := []string{ManifestName}
	if _, err := root.Lstat(SignatureName); err == nil {
		names = append(names, SignatureName)
	}
	listed := make([]string, 0, len(m.Files))
	for name := range m.Files {
		listed = append(listed, name)
	}
	slices.Sort(listed)
	for _, name := range append(names, listed...) {
		if err := archiveFile(root, name, m.Files[name].Mode|0o644, to); err != nil {
			return err
		}
	}
	return errors.Join(to.Close(), zip.Close())
}

// nothingElse refuses a directory with files that the manifest does not list: they would
// be left out in silence, or be signed by nobody.
func nothingElse(root *os.Root, m *Manifest) error {
	return fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		_, listed := m.Files[path]
		switch {
		case err != nil:
			return bare(err)
		case entry.IsDir(), listed, path == ManifestName, path == SignatureName:
			return nil
		}
		return fmt.Errorf("%s: is not in the manifest: remove it, or sign the package again with it", plain(path))
	})
}

func archiveFile(root *os.Root, name string, mode fs.FileMode, to *tar.Writer) error {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would wait for its other end
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: is not a plain file", name)
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: int64(mode), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if err := to.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(to, f)
	return err
}

// Unpack reads an archive into the directory into, which must be there, empty and
// private: nothing in it is trusted before Open checked it. It takes plain files and
// directories only, below into, each once, within the limits of a package, and of the sizes
// that the manifest says. Before the manifest there may be little.
func Unpack(r io.Reader, into string) error {
	return wrapUnpack(unpack(r, into, func([]byte, []byte) error { return nil }))
}

// Unpack is the function Unpack, and unpacks nothing large of a package that Open refuses by
// its signature.
func (o Opener) Unpack(r io.Reader, into string) error {
	return wrapUnpack(unpack(r, into, o.vouched))
}

func wrapUnpack(err error) error {
	if err != nil {
		return fmt.Errorf("unpack an archive: %w", err)
	}
	return nil
}

// vouched checks the signature of a manifest; signature is nil where there is none.
func (o Opener) vouched(text, signature []byte) error {
	_, err := o.vouch(&Package{text: text, signature: signature, Unsigned: signature == nil})
	return err
}

func unpack(r io.Reader, into string, vouched func(text, signature []byte) error) error {
	root, err := os.OpenRoot(into)
	if err != nil {
		return bare(err)
	}
	defer root.Close()
	zip, err := gzip.NewReader(r)
	if err != nil {
		return errors.New("is not a tar.gz")
	}
	// Headers and padding are small beside the files; a bomb ends here.
	from := &bounded{r: zip, left: maxTotal + maxManifest + (2*maxFiles)<<10}
	u := &unpacker{root: root, tar: tar.NewReader(from), left: maxTotal, vouched: vouched, early: make(map[string]int64)}
	for {
		err := u.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return worded(err)
		}
	}
	if u.files == 0 {
		return errors.New("has no files")
	}
	if u.fault != nil || u.manifest == nil {
		return cmp.Or(u.fault, fmt.Errorf("%s: is not there", ManifestName))
	}
	from.left = min(from.left, maxPadding)
	_, err = io.Copy(io.Discard, from) // the check sum stands at the end
	if errors.Is(err, errBomb) {
		return errors.New("has more behind its end")
	}
	return worded(err)
}

// worded says what an operator can do about a broken archive.
func worded(err error) error {
	var bad *badEntry
	if err == nil || errors.As(err, &bad) || errors.Is(err, errBomb) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, tar.ErrHeader) {
		return fmt.Errorf("is cut off or damaged (%w): fetch it again", err)
	}
	return err
}

// maxPadding bounds the zeros behind the last file; tar writes less than 20 KiB.
const maxPadding = 1 << 20

var errBomb = fmt.Errorf("holds more than %d bytes", maxTotal)

// bounded fails after so many bytes; io.LimitReader would end as if all were well.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBomb
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// A badEntry is an entry of an archive that is not taken.
type badEntry struct{ name, text string }

func (e *badEntry) Error() string { return quote(e.name) + " " + e.text }

// maxEarly bounds the files before the manifest: whoever lays an archive out by hand may
// have a licence there.
const maxEarly = 1 << 20

type unpacker struct {
	root    *os.Root
	tar     *tar.Reader
	left    int64 // bytes
	files   int
	vouched func(text, signature []byte) error

	early     map[string]int64 // files before the manifest, and their sizes
	earlySize int64
	manifest  *Manifest // nil: it has not come yet
	text      []byte    // of the manifest; nil: it has not come yet
	fault     error     // of the manifest
	signature []byte    // nil: it has not come yet
	checked   bool      // vouched said yes
}

func (u *unpacker) next() error {
	h, err := u.tar.Next()
	if err != nil {
		return err
	}
	if u.files++; u.files > 2*maxFiles {
		return fmt.Errorf("has more than %d entries", 2*maxFiles)
	}
	name := strings.TrimPrefix(h.Name, "./")
	if h.Typeflag == tar.TypeDir {
		return u.directory(h.Name, strings.TrimSuffix(name, "/"))
	}
	if h.Typeflag != tar.TypeReg {
		return &badEntry{h.Name, "is not a plain file: links and devices are not taken"}
	}
	if err := checkPath(name); err != nil && name != ManifestName && name != SignatureName {
		return &badEntry{h.Name, "is not taken as a path: it must be relative, of a-z, A-Z, 0-9, ., -, _ and +, no part beginning with a dot"}
	}
	if h.Mode&^0o777 != 0 {
		return &badEntry{h.Name, "has a setuid, setgid or sticky bit"}
	}
	if h.Size > maxFile || h.Size > u.left {
		return &badEntry{h.Name, fmt.Sprintf("has %d bytes: that is more than a package may have", h.Size)}
	}
	u.left -= h.Size
	switch name {
	case ManifestName:
		return u.takeManifest(h)
	case SignatureName:
		return u.takeSignature(h)
	}
	if err := u.expected(h.Name, name, h.Size); err != nil {
		return err
	}
	return u.file(h, name, u.tar)
}

// takeManifest reads the manifest, which says what else there is.
func (u *unpacker) takeManifest(h *tar.Header) (err error) {
	if u.text != nil {
		return &badEntry{h.Name, "stands in the archive twice"}
	}
	if u.text, err = u.small(h, maxManifest); err != nil {
		return err
	}
	if u.manifest, u.fault = ParseManifest(u.text); u.fault != nil {
		return nil // told when the next file comes, or the end
	}
	for name, size := range u.early {
		if err := u.listed(name, name, size); err != nil {
			return err
		}
	}
	return u.file(h, ManifestName, bytes.NewReader(u.text))
}

func (u *unpacker) takeSignature(h *tar.Header) error {
	if u.signature != nil {
		return &badEntry{h.Name, "stands in the archive twice"}
	}
	text, err := u.small(h, maxSignature)
	if err != nil {
		return err
	}
	u.signature = text
	return u.file(h, SignatureName, bytes.NewReader(text))
}

// small reads an entry of limited size.
func (u *unpacker) small(h *tar.Header, limit int64) ([]byte, error) {
	if h.Size > limit {
		return nil, &badEntry{h.Name, fmt.Sprintf("is larger than %d bytes", limit)}
	}
	text, err := io.ReadAll(u.tar)
	if err == nil && text == nil {
		text = []byte{}
	}
	return text, err
}

// expected reports whether a file is one that the manifest lists, or a small one before it.
func (u *unpacker) expected(original, name string, size int64) error {
	if u.fault != nil {
		return u.fault
	}
	if u.manifest == nil {
		if u.earlySize += size; u.earlySize > maxEarly {
			return fmt.Errorf("%s: does not come before files of more than %d bytes: pack it with `fieldloom driver pack --archive`, or put the manifest first", ManifestName, maxEarly)
		}
		u.early[name] = size
		return nil
	}
	if err := u.listed(original, name, size); err != nil {
		return err
	}
	if u.checked {
		return nil
	}
	u.checked = true
	return u.vouched(u.text, u.signature)
}

func (u *unpacker) listed(original, name string, size int64) error {
	f, ok := u.manifest.Files[name]
	if !ok {
		return fmt.Errorf("%s: is not in the manifest", plain(name))
	}
	if f.Size != size {
		return &badEntry{original, fmt.Sprintf("has %d bytes, and the manifest says %d", size, f.Size)}
	}
	return nil
}

func (u *unpacker) directory(original, name string) error {
	if name == "" || name == "." {
		return nil
	}
	if err := checkPath(name); err != nil {
		return &badEntry{original, "is not taken as a path of a directory"}
	}
	if err := u.root.MkdirAll(name, 0o755); err != nil {
		return u.unplaced(original, err)
	}
	return nil
}

func (u *unpacker) unplaced(name string, err error) error {
	return &badEntry{name, fmt.Sprintf("cannot be unpacked: %v", bare(err))}
}

func (u *unpacker) file(h *tar.Header, name string, from io.Reader) error {
	if dir := filepath.Dir(name); dir != "." {
		if err := u.root.MkdirAll(dir, 0o755); err != nil {
			return u.unplaced(h.Name, err)
		}
	}
	mode := fs.FileMode(0o644)
	if h.Mode&0o100 != 0 {
		mode = 0o755
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return &badEntry{h.Name, "stands in the archive twice"}
	}
	if err != nil {
		return u.unplaced(h.Name, err)
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Chmod(mode), f.Close())
}

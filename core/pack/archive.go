package pack

import (
	"archive/tar"
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
// directories only, below into, each once, within the limits of a package.
func Unpack(r io.Reader, into string) error {
	if err := unpack(r, into); err != nil {
		return fmt.Errorf("unpack an archive: %w", err)
	}
	return nil
}

func unpack(r io.Reader, into string) error {
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
	u := &unpacker{root: root, tar: tar.NewReader(from), left: maxTotal}
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

type unpacker struct {
	root  *os.Root
	tar   *tar.Reader
	left  int64 // bytes
	files int
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
	return u.file(h, name)
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

func (u *unpacker) file(h *tar.Header, name string) error {
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
	_, err = io.Copy(f, u.tar)
	return errors.Join(err, f.Chmod(mode), f.Close())
}

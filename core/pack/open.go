package pack

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Package is a package that was checked whole. It may be used concurrently.
type Package struct {
	Manifest *Manifest
	Hash     [sha256.Size]byte // of the manifest's bytes: it names this very package
	KeyID    string            // of the key that signed it; "": Unsigned
	Signer   Signer            // zero: Unsigned
	Unsigned bool              // it has no signature, and nobody vouches for it

	text, signature []byte
	executable      *os.File
}

// Executable returns the executable for this platform as a file that holds the
// verified bytes and cannot change any more. It is shared: nobody closes it or moves
// its offset.
func (p *Package) Executable() (*os.File, error) {
	if p.executable == nil {
		return nil, fmt.Errorf("package %s has no executable for %s: it has them for %s",
			p.Manifest.ID(), Platform(), strings.Join(slices.Sorted(maps.Keys(p.Manifest.Platforms)), ", "))
	}
	return p.executable, nil
}

// Trusted checks the signature against another trust file, with the bytes that Open
// read.
func (p *Package) Trusted(t *Trust) error {
	if p.Unsigned {
		return nil
	}
	k, _, err := t.verify(p.text, p.signature)
	if err == nil {
		err = k.permits(p.Manifest.Name)
	}
	return err
}

// ErrUnsigned is in the tree of the error of a package without a signature, where only signed
// ones are taken.
var ErrUnsigned = errors.New("not signed")

// An Opener opens packages. The zero value trusts no key.
type Opener struct {
	Trust    *Trust
	Private  string // directory for private copies where files in memory cannot be executed; "": for temporary files
	NoMemory bool   // make private copies always
	Signed   bool   // refuse a package without a signature before more of it is read
}

// Open checks the package in dir: signature, trust, and every file's hash, size and
// mode. A package without a signature is opened too and says that it is Unsigned;
// one with a signature that does not hold is not. The error is one line.
func Open(dir string, t *Trust) (*Package, error) { return Opener{Trust: t}.Open(dir) }

// Open checks the package in dir, see the function Open.
func (o Opener) Open(dir string) (*Package, error) {
	p, err := o.open(dir)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", filepath.Base(dir), err)
	}
	return p, nil
}

func (o Opener) open(dir string) (*Package, error) {
	root, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	p, err := o.manifest(root)
	if err != nil {
		return nil, err
	}
	c := &checker{opener: o, manifest: p.Manifest, executable: p.Manifest.Executable(Platform()), left: maps.Clone(p.Manifest.Files)}
	if err := c.directory(root, ""); err != nil {
		return nil, errors.Join(err, c.close())
	}
	if len(c.left) > 0 {
		return nil, errors.Join(fmt.Errorf("%s: is not there, and the manifest lists it", slices.Sorted(maps.Keys(c.left))[0]), c.close())
	}
	p.executable = c.image
	return p, nil
}

// OpenArchive checks the package in an archive. It is unpacked for that into a private
// directory that is gone afterwards: what is executed lies in memory.
func (o Opener) OpenArchive(path string) (*Package, error) {
	name := strings.TrimSuffix(filepath.Base(path), ArchiveSuffix)
	fail := func(err error) (*Package, error) { return nil, fmt.Errorf("package %s: %w", name, err) }
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fail(bare(err))
	}
	defer f.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return fail(err)
	}
	if err := checkStat(&stat, unix.S_IFREG); err != nil {
		return fail(err)
	}
	dir, err := os.MkdirTemp(o.Private, ".fieldloom-") // 0700
	if err != nil {
		return fail(bare(err))
	}
	defer os.RemoveAll(dir)
	if err := unpack(f, dir, o.vouched); err != nil {
		return fail(err)
	}
	p, err := o.open(dir)
	if err != nil {
		return fail(err)
	}
	return p, nil
}

// openDir opens the directory of a package. Links on the way to it are the operator's.
func openDir(dir string) (*os.File, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return nil, bare(err)
	}
	defer parent.Close()
	root, _, err := openAt(parent, filepath.Base(dir), unix.S_IFDIR)
	if err != nil {
		return nil, said(err)
	}
	return root, nil
}

// manifest reads the manifest after its signature was found right.
func (o Opener) manifest(root *os.File) (p *Package, err error) {
	p = &Package{}
	if p.text, err = readSmall(root, ManifestName, maxManifest); err != nil {
		return nil, err
	}
	p.Hash = sha256.Sum256(p.text)
	p.signature, err = readSmall(root, SignatureName, maxSignature)
	if p.Unsigned = errors.Is(err, fs.ErrNotExist); err != nil && !p.Unsigned {
		return nil, err
	}
	by, err := o.vouch(p)
	if err != nil {
		return nil, err
	}
	if p.Manifest, err = ParseManifest(p.text); err != nil {
		return nil, err
	}
	if by != nil {
		err = by.permits(p.Manifest.Name)
	}
	return p, err
}

// vouch finds who signed a manifest; nil: nobody did, and nobody has to.
func (o Opener) vouch(p *Package) (*trusted, error) {
	if p.Unsigned {
		if o.Signed {
			return nil, fmt.Errorf("%s: is not there, and only signed packages are taken: sign it with `fieldloom driver sign`%w", SignatureName, silent{ErrUnsigned})
		}
		return nil, nil
	}
	k, s, err := o.Trust.verify(p.text, p.signature)
	if err != nil {
		return nil, err
	}
	p.KeyID = keyID(k.public.ID())
	p.Signer = Signer{Key: k.public.String(), ID: p.KeyID, Comment: k.comment, Signed: s.TrustedComment}
	return k, nil
}

// readSmall reads a whole file of limited size.
func readSmall(root *os.File, name string, limit int) ([]byte, error) {
	f, _, err := openAt(root, name, unix.S_IFREG)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, said(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(text) > limit {
		err = fmt.Errorf("is larger than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}

// said words the errors that an operator meets; the others are the system's.
func said(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("is not there%w", silent{err})
	}
	return err
}

// silent keeps an error for errors.Is without a text.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

// bare is an error of the system without the path, which stands before it already.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return said(p.Err)
	}
	return err
}

// A checker holds the files of a directory against the manifest.
type checker struct {
	opener     Opener
	manifest   *Manifest
	executable string // path of this platform's
	left       map[string]File
	entries    int
	image      *os.File
}

func (c *checker) close() error {
	if c.image == nil {
		return nil
	}
	return c.image.Close()
}

// directory checks one directory; every entry of it must be accounted for.
func (c *checker) directory(dir *os.File, path string) error {
	names, err := dir.Readdirnames(2*maxFiles + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", path, bare(err))
	}
	if c.entries += len(names); c.entries > 2*maxFiles {
		return fmt.Errorf("has more than %d files and directories", 2*maxFiles)
	}
	slices.Sort(names)
	for _, name := range names {
		if path == "" && (name == ManifestName || name == SignatureName) {
			continue
		}
		if err := c.entry(dir, name, below(path, name)); err != nil {
			return err
		}
	}
	return nil
}

func below(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// plain is a path as it is where its letters allow it, and quoted otherwise.
func plain(path string) string {
	if checkPath(path) == nil {
		return path
	}
	return quote(path)
}

func (c *checker) entry(dir *os.File, name, at string) error {
	file, listed := c.left[at]
	if listed {
		delete(c.left, at)
		if err := c.file(dir, name, at, file); err != nil {
			return fmt.Errorf("%s: %w", at, said(err))
		}
		return nil
	}
	if !holds(c.left, at) {
		return fmt.Errorf("%s: is not in the manifest", plain(at))
	}
	sub, _, err := openAt(dir, name, unix.S_IFDIR)
	if err != nil {
		return fmt.Errorf("%s: %w", at, said(err))
	}
	defer sub.Close()
	return c.directory(sub, at)
}

// holds reports whether a path below dir is listed.
func holds(files map[string]File, dir string) bool {
	for path := range files {
		if len(path) > len(dir) && path[:len(dir)] == dir && path[len(dir)] == '/' {
			return true
		}
	}
	return false
}

func (c *checker) file(dir *os.File, name, at string, want File) error {
	f, stat, err := openAt(dir, name, unix.S_IFREG)
	if err != nil {
		return err
	}
	defer f.Close()
	if mode := fs.FileMode(stat.Mode & 0o777); mode != want.Mode {
		return fmt.Errorf("has the mode %04o, and the manifest says %04o", mode, want.Mode)
	}
	if stat.Size != want.Size {
		return fmt.Errorf("has %d bytes, and the manifest says %d", stat.Size, want.Size)
	}
	sum, err := c.hash(f, at, want.Size)
	if err == nil && sum != want.SHA256 {
		err = errors.New("its SHA-256 is not the manifest's: it was changed after it was signed")
	}
	return err
}

// hash reads a file once. This platform's executable is hashed as the sealed copy
// that will be executed, so what is on the disk does not matter any more.
func (c *checker) hash(f *os.File, at string, size int64) (sum [sha256.Size]byte, err error) {
	if at == c.executable {
		c.image, sum, err = Seal(f, size, "driver-"+c.manifest.Name, c.opener.Private, c.opener.NoMemory)
		return sum, err
	}
	hash := sha256.New()
	if err := copyExactly(hash, f, size); err != nil {
		return sum, err
	}
	hash.Sum(sum[:0])
	return sum, nil
}

package depot

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/pack"
)

// A fingerprint changes with every change of a package that the file system knows of.
// It saves work and proves nothing: images do not depend on what lies on the disk.
type fingerprint [sha256.Size]byte

// maxLooked bounds the files that are looked at for a fingerprint; a package has fewer.
const maxLooked = 3000

var errEnough = errors.New("enough")

func fingerprintOf(path string) (mark fingerprint) {
	hash := sha256.New()
	n := 0
	err := filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		if n++; n > maxLooked {
			return errEnough
		}
		var s unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &s)
		}
		fmt.Fprintf(hash, "%q %d %d %o %d %d %d %v %v %v\n", path, s.Dev, s.Ino, s.Mode, s.Uid, s.Nlink, s.Size, s.Mtim, s.Ctim, err != nil)
		return nil
	})
	fmt.Fprint(hash, err)
	hash.Sum(mark[:0])
	return mark
}

const devPrefix = "driver-"

// isPackage reports whether a name of the directory is looked at.
func isPackage(e fs.DirEntry) bool {
	name := e.Name()
	switch {
	case strings.HasPrefix(name, "."):
		return false
	case e.IsDir(), strings.HasSuffix(name, pack.ArchiveSuffix):
		return true
	}
	return strings.HasPrefix(name, devPrefix) || e.Type()&fs.ModeSymlink != 0
}

// A candidate is a package as it was read, before it is accepted.
type candidate struct {
	name  string
	print fingerprint
	image *Image
	err   error
}

func (c *candidate) serial() uint64 {
	if c.image == nil {
		return 0
	}
	return c.image.Serial
}

// verifier reads packages, and judges them by the trust file and the policy as they were
// when refresh read them last. The depot's lock scanning guards it.
type verifier struct {
	o      Options
	trust  trust
	policy Policy
}

// refresh reads the trust file and the policy, and reports whether what was judged by those
// of before has to be judged again.
func (v *verifier) refresh() bool {
	again := v.readTrust()
	policy := Deny
	if v.o.Policy != nil {
		policy = v.o.Policy()
	}
	again = again || policy != v.policy
	v.policy = policy
	return again
}

// trusts reports whether the operator still lets an image be run that was accepted.
func (v *verifier) trusts(i *Image) bool {
	if i.Unsigned {
		return v.policy == AllowDev
	}
	return i.pack.Trusted(v.trust.keys) == nil
}

// read reads and verifies what lies under a name.
func (v *verifier) read(dir, name string, mark fingerprint) *candidate {
	c := &candidate{name: name, print: mark}
	path := filepath.Join(dir, name)
	if strings.HasPrefix(name, devPrefix) && !strings.HasSuffix(name, pack.ArchiveSuffix) {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			c.image, c.err = v.bare(path, strings.TrimPrefix(name, devPrefix))
			return c
		}
	}
	var p *pack.Package
	if p, c.err = v.openPackage(path); c.err == nil {
		c.image, c.err = v.imageOf(name, p)
	}
	return c
}

func (v *verifier) openPackage(path string) (*pack.Package, error) {
	o := v.opener()
	open := o.Open
	if strings.HasSuffix(path, pack.ArchiveSuffix) {
		open = o.OpenArchive
	}
	p, err := open(path)
	if err != nil && v.policy != AllowDev && p == nil && errors.Is(err, pack.ErrUnsigned) {
		err = fmt.Errorf("%w%w", err, silent{errPolicy})
	}
	return p, v.explain(err)
}

// opener opens packages by the present trust and policy.
func (v *verifier) opener() pack.Opener {
	return pack.Opener{Trust: v.trust.keys, Private: v.o.Private, Signed: v.policy != AllowDev}
}

// explain adds to the error of an opener that there is no trust file.
func (v *verifier) explain(err error) error {
	if err != nil && v.trust.keys == nil && v.trust.fault != "" {
		return fmt.Errorf("%w (%s)", err, v.trust.fault)
	}
	return err
}

// imageOf makes an image of a verified package that fits this gateway.
func (v *verifier) imageOf(name string, p *pack.Package) (*Image, error) {
	m := p.Manifest
	if strings.TrimSuffix(name, pack.ArchiveSuffix) != m.ID() {
		return nil, fmt.Errorf("package %s: its name must be %s, as the manifest says: rename it", name, m.ID())
	}
	if m.API.Min > v.o.API || m.API.Max < v.o.API {
		return nil, fmt.Errorf("package %s: speaks the driver protocol %d to %d, and this gateway %d: update the one that is older",
			name, m.API.Min, m.API.Max, v.o.API)
	}
	file, err := p.Executable()
	if err != nil {
		return nil, err
	}
	return &Image{
		Driver: m.Name, Version: m.Version, Serial: m.Serial, Hash: m.Files[m.Executable(pack.Platform())].SHA256,
		Manifest: m, KeyID: p.KeyID, Unsigned: p.Unsigned, file: file, pack: p,
	}, nil
}

// bare makes an image of an executable without a package.
func (v *verifier) bare(path, driver string) (*Image, error) {
	name := filepath.Base(path)
	if v.policy != AllowDev {
		return nil, fmt.Errorf("%s: is no signed package: `fieldloom driver pack` makes one of it, and `unsigned: allow-dev` takes it as it is%w", name, silent{errPolicy})
	}
	if err := pack.CheckName(driver); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return nil, fmt.Errorf("%s: is not an executable file: check its mode", name)
	}
	i := &Image{Driver: driver, Version: DevVersion, Manifest: madeUp(driver, v.o.API), Unsigned: true}
	if i.file, i.Hash, err = pack.Seal(f, info.Size(), name, v.o.Private, false); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return i, nil
}

// madeUp is the manifest of a bare executable: it says of itself what is needed to try
// a driver out.
func madeUp(driver string, api int) *pack.Manifest {
	return &pack.Manifest{
		Name: driver, Version: DevVersion, Kind: pack.KindDriver, API: pack.API{Min: api, Max: api},
		Wants: pack.Wants{Serial: true, TCP: pack.Ports{FromLinks: true}, UDP: pack.Ports{Any: true}, Unix: true},
	}
}

package pack

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// seals make a file in memory what it is for ever: for us too.
const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL

// imageMode lets another user execute an image by its descriptor: the gateway may run
// its drivers as somebody else.
const imageMode = 0o555

// Seal copies size bytes of from into a file that nobody can change any more and that
// can be executed by its descriptor, and returns the hash of what that file holds. It
// is a sealed file in memory; where the system executes none of these (vm.memfd_noexec),
// a file without a name in private, which only this user could have changed until
// now. private may be "": the directory for temporary files. noMemory skips the first.
func Seal(from io.Reader, size int64, name, private string, noMemory bool) (image *os.File, sum [sha256.Size]byte, err error) {
	if !noMemory {
		image, err = sealed(from, size, name)
		if !errors.Is(err, errNoMemory) {
			return finishSeal(image, size, err)
		}
	}
	image, copyErr := copied(from, size, name, private)
	if copyErr != nil && err != nil {
		copyErr = fmt.Errorf("%w (%w)", copyErr, err)
	}
	return finishSeal(image, size, copyErr)
}

// finishSeal hashes what is going to be executed, not what was meant to be copied.
func finishSeal(image *os.File, size int64, err error) (*os.File, [sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	if err != nil {
		return nil, sum, err
	}
	hash := sha256.New()
	n, err := io.Copy(hash, io.NewSectionReader(image, 0, maxFile+1))
	if err == nil && n != size {
		err = fmt.Errorf("the image has %d bytes of %d", n, size)
	}
	if err != nil {
		return nil, sum, errors.Join(err, image.Close())
	}
	hash.Sum(sum[:0])
	return image, sum, nil
}

// errNoMemory is that files in memory cannot be made or not be executed here.
var errNoMemory = errors.New("no file in memory can be executed here")

// sealed copies into a file in memory. It has read nothing when it returns errNoMemory.
func sealed(from io.Reader, size int64, name string) (*os.File, error) {
	f, err := memoryFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoMemory, err)
	}
	keep := false
	defer func() {
		if !keep {
			_ = f.Close()
		}
	}()
	if err := canExecute(f); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoMemory, err)
	}
	if err := copyExactly(f, from, size); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal the image: %w", err)
	}
	if have, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil || have&seals != seals {
		return nil, fmt.Errorf("seal the image: the system kept seals %#x of %#x: %w", have, seals, err)
	}
	keep = true
	return f, nil
}

// memoryFile makes a file in memory that may be executed. Kernels before 6.3 do not
// know the flag that asks for it, and need none.
func memoryFile(name string) (*os.File, error) {
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// canExecute gives a file its mode and asks the system, which knows its mounts and
// settings, whether it could be executed.
func canExecute(f *os.File) error {
	if err := f.Chmod(imageMode); err != nil {
		return err
	}
	if err := unix.Faccessat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.X_OK, 0); err != nil {
		return fmt.Errorf("execute %s: %w", f.Name(), err)
	}
	return nil
}

// copied copies into a file whose name is removed before anybody relies on it.
func copied(from io.Reader, size int64, name, private string) (*os.File, error) {
	dir, w, err := privateFile(name, private)
	if err != nil && private != "" {
		dir, w, err = privateFile(name, "")
	}
	if err != nil {
		return nil, fmt.Errorf("make a private copy: %w: set TMPDIR to a directory where programs may be executed", err)
	}
	defer os.RemoveAll(dir)
	err = errors.Join(copyExactly(w, from, size), w.Close()) // nothing is executed while it is open for writing
	if err != nil {
		return nil, fmt.Errorf("make a private copy: %w", err)
	}
	image, err := os.Open(w.Name())
	if err != nil {
		return nil, fmt.Errorf("make a private copy: %w", err)
	}
	return image, nil
}

// privateFile makes a file that can be executed, in a new directory of this user only.
func privateFile(name, parent string) (dir string, w *os.File, err error) {
	if dir, err = os.MkdirTemp(parent, ".fieldloom-"); err != nil { // 0700
		return "", nil, err
	}
	w, err = os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o500)
	if err == nil {
		if err = canExecute(w); err == nil {
			return dir, w, nil
		}
		_ = w.Close()
	}
	return "", nil, errors.Join(err, os.RemoveAll(dir))
}

// copyExactly copies size bytes, and it is an error when there are more or fewer.
func copyExactly(to io.Writer, from io.Reader, size int64) error {
	n, err := io.Copy(to, io.LimitReader(from, size+1))
	if err == nil && n != size {
		err = errSize
	}
	return err
}

// errSize is that a file is longer or shorter than the manifest says.
var errSize = errors.New("its size is not the manifest's")

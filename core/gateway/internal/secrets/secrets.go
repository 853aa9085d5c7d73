// Package secrets reads the secrets that settings of links name.
package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
)

// maxSecret is what a driver's question is answered with at most.
const maxSecret = 64 << 10

// Read reads one secret: the whole file, less one newline at its end. An error
// says what is wrong with the file and nothing of what is in it.
func Read(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, driver.Errorf(driver.NotFound, "secret %s: there is no file %s: write one with mode 0600", name, path)
	case err != nil:
		return nil, driver.Errorf(driver.NotFound, "secret %s: %w: give the gateway's user the right to read it", name, err)
	}
	defer func() { _ = f.Close() }()
	if err := private(f, dir); err != nil {
		return nil, driver.Errorf(driver.Denied, "secret %s: %w", name, err)
	}
	value, err := io.ReadAll(io.LimitReader(f, maxSecret+2))
	if err != nil {
		return nil, driver.Errorf(driver.NotFound, "secret %s: %w", name, err)
	}
	value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
	switch {
	case len(value) == 0:
		return nil, driver.Errorf(driver.NotFound, "secret %s: %s is empty: write the secret into it", name, path)
	case len(value) > maxSecret:
		return nil, driver.Errorf(driver.BadValue, "secret %s: %s is longer than %d bytes", name, path, maxSecret)
	}
	return value, nil
}

// private tells what lets others than its owner at a secret. It looks at the open file,
// so that what is read is what was looked at.
func private(f *os.File, dir string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", f.Name())
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o, so others than its owner can get at it: chmod 600", f.Name(), mode)
	}
	around, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := around.Mode(); mode.Perm()&0o022 != 0 && mode&fs.ModeSticky == 0 {
		return fmt.Errorf("the directory %s has mode %04o, so others than its owner can replace secrets: chmod go-w", dir, mode.Perm())
	}
	return nil
}

// Check finds the secrets that links name and that cannot be had, at the places
// where they are named.
func Check(c *config.Config) []error {
	var faults []error
	for _, s := range c.Secrets() {
		if _, err := Read(c.SecretsDir, s.Name); err != nil {
			faults = append(faults, c.SecretFault(s, driver.AsError(err).Text))
		}
	}
	return faults
}

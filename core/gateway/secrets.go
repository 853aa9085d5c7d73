package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
)

// maxSecret is what a driver's question is answered with at most.
const maxSecret = 64 << 10

// Secret answers the secret of a name that the link's settings mention. It is read each
// time: a new one is in force with the next opening of a link.
func (s *services) Secret(_ context.Context, link, name string) ([]byte, error) {
	a := s.inForce.Get()
	if !mentions(a, s.kind, link, name) {
		return nil, driver.Errorf(driver.Denied, "secret %s: the settings of link %s do not name it as secret:%s", name, link, name)
	}
	return readSecret(a.SecretsDir, name)
}

func mentions(a *inforce.Config, kind, link, name string) bool {
	for _, l := range a.Links {
		if l.Name == link && l.Driver == kind {
			return slices.Contains(l.SecretNames(), name)
		}
	}
	return false
}

// readSecret reads one secret: the whole file, less one newline at its end. An error
// says what is wrong with the file and nothing of what is in it.
func readSecret(dir, name string) ([]byte, error) {
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

// warnSecrets logs the secrets that cannot be had: the links that name them do not open.
func (g *gateway) warnSecrets() {
	for _, fault := range g.secretFaults() {
		g.o.Log.Error("a secret cannot be had: the links that name it do not open", "err", fault)
	}
}

// secretFaults is what warnSecrets logs, as texts.
func (g *gateway) secretFaults() (list []string) {
	for _, fault := range checkSecrets(g.inForce.Get().Config) {
		list = append(list, fault.Error())
	}
	return list
}

// checkSecrets finds the secrets that links name and that cannot be had, at the places
// where they are named.
func checkSecrets(c *config.Config) []error {
	var faults []error
	for _, s := range c.Secrets() {
		if _, err := readSecret(c.SecretsDir, s.Name); err != nil {
			faults = append(faults, c.SecretFault(s, driver.AsError(err).Text))
		}
	}
	return faults
}

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/gateway/gatewaytest"
	"github.com/fieldloom/fieldloom/core/pack"
)

// turns is how many starts of each kind a run is the median of.
const turns = 10

// start is what it costs that a driver is verified and confined: once for each package,
// and at every start. Both limits are the same bytes without it.
func (b *bench) start() error {
	dir, err := os.MkdirTemp("", "fieldloom-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := newStarter(b.bin, dir)
	if err != nil {
		return err
	}
	defer s.image.Close()
	if err := b.pairs("start-verification", s.weigh); err != nil { // the once-only part
		return err
	}
	return b.pairs("start-confined", s.takeTurns)
}

// pairs reports a figure in milliseconds and its limit, which are taken together.
func (b *bench) pairs(name string, take func() (value, limit float64, err error)) error {
	var values, limits []float64
	for range b.runs {
		v, l, err := take()
		if err != nil {
			return err
		}
		values, limits = append(values, v), append(limits, l)
	}
	return report(name, "ms", values, limits)
}

// A starter starts the Modbus driver of the built gateway.
type starter struct {
	fieldloom  string // which is the shim too
	pack       string // directory of the package
	executable string // in it
	image      *os.File
	trust      *pack.Trust
	runDir     string
}

func newStarter(bin, runDir string) (*starter, error) {
	beside := filepath.Dir(bin)
	trust, err := pack.ReadTrust(filepath.Join(beside, "trust.yaml"))
	if err != nil {
		return nil, err
	}
	packs, err := filepath.Glob(filepath.Join(beside, "drivers", "modbus-*", pack.ManifestName))
	if err != nil || len(packs) != 1 {
		return nil, fmt.Errorf("want one package of the Modbus driver beside %s, have %d (%w)", bin, len(packs), err)
	}
	s := &starter{fieldloom: bin, pack: filepath.Dir(packs[0]), trust: trust, runDir: runDir}
	m, image, err := s.verify()
	if err != nil {
		return nil, err
	}
	s.executable, s.image = filepath.Join(s.pack, m.Executable(pack.Platform())), image
	return s, nil
}

// verify checks the package as a gateway does, and puts the executable into memory.
func (s *starter) verify() (*pack.Manifest, *os.File, error) {
	p, err := pack.Opener{Trust: s.trust, Signed: true}.Open(s.pack)
	if err != nil {
		return nil, nil, err
	}
	image, err := p.Executable()
	return p.Manifest, image, err
}

// weigh gives the milliseconds of a verification and of a bare hash.
func (s *starter) weigh() (verified, hashed float64, err error) {
	var v, h []float64
	for range turns {
		began := time.Now()
		_, image, err := s.verify()
		v = append(v, milliseconds(time.Since(began)))
		if err != nil {
			return 0, 0, err
		}
		image.Close()
		began = time.Now()
		err = hashFile(s.executable)
		h = append(h, milliseconds(time.Since(began)))
		if err != nil {
			return 0, 0, err
		}
	}
	return median(v), median(h), nil
}

func hashFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(sha256.New(), f)
	return err
}

// takeTurns gives the milliseconds of a confined and of a plain start, each the first
// of a pair as often as the other.
func (s *starter) takeTurns() (confined, plain float64, err error) {
	var c, p []float64
	for i := range 2 * turns {
		start, all := s.confined, &c
		if i%4 == 1 || i%4 == 2 {
			start, all = s.plain, &p
		}
		took, err := start()
		if err != nil {
			return 0, 0, err
		}
		*all = append(*all, milliseconds(took))
	}
	return median(c), median(p), nil
}

// plain executes the file by its path.
func (s *starter) plain() (time.Duration, error) {
	c := s.command()
	c.Path = s.executable
	return launch(c)
}

// confined executes the image with what a link to one port needs, and no group for its
// limits, which a gateway has under systemd. The shim is the gateway's own binary.
func (s *starter) confined() (time.Duration, error) {
	c := s.command()
	c.Path = filepath.Base(s.executable)
	var pending *confine.Pending
	c.Prepare = func(cmd *exec.Cmd, socketDir string) (started func(error), err error) {
		policy := confine.Policy{Mode: confine.Required, RunDir: socketDir, ConnectTCP: []uint16{502}}
		if pending, err = policy.Prepare(cmd, s.image); err != nil {
			return nil, err
		}
		cmd.Path = s.fieldloom // in the place of this program
		return pending.Started, nil
	}
	took, err := launch(c)
	if pending == nil {
		return took, err
	}
	_, fault := pending.Report()
	return took, errors.Join(fault, err)
}

// command is what both kinds have of a gateway that leaves its drivers running.
func (s *starter) command() gatewaytest.Driver {
	return gatewaytest.Driver{Name: "modbus", RunDir: s.runDir}
}

// launch starts a driver until it has described itself, and ends it.
func launch(c gatewaytest.Driver) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	began := time.Now()
	stop, err := gatewaytest.Start(ctx, c)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	return took, stop(ctx)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

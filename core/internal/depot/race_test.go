package depot_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/pack"
)

// Somebody replaces the executable, in four ways, while the gateway starts again and
// again: what runs is what was signed, or nothing.
func TestReplacedDuringStarts(t *testing.T) {
	y := newYard(t)
	y.put("d", "1", "good", "ours", 100)
	a := newAttacker(y)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for a.times.Load() < replacements {
			a.strike()
		}
	}()
	ran, refused := 0, 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		d, err := depot.Open(depot.Options{Dir: depot.Fixed(y.dir), Trust: depot.Fixed(y.trust)})
		y.must(err)
		i, err := d.Image("d")
		if err != nil {
			refused++
			continue
		}
		text, err := start(i)
		if err != nil || text != "good" {
			t.Fatalf("after %d replacements ran %q, %v", a.times.Load(), text, err)
		}
		ran++
	}
	<-done
	t.Logf("%d replacements during %d starts: %d ran what was signed, %d were refused", a.times.Load(), ran+refused, ran, refused)
	if chaos && (ran == 0 || refused == 0) {
		t.Error("the attacker was never in time, or always")
	}
}

// An attacker replaces the executable of d-1. Its methods do not touch the test, as
// they run in another goroutine.
type attacker struct {
	exe, dir, evilDir string
	good, evil        []byte
	times             atomic.Int64
}

func newAttacker(y *yard) *attacker {
	good := []byte(y.read(y.executable()))
	evil := []byte("#!/bin/sh\necho evil\n") // as long as the good one
	if len(good) != len(evil) {
		y.t.Fatalf("good has %d bytes", len(good))
	}
	a := &attacker{exe: y.executable(), dir: filepath.Join(y.dir, "d-1"), evilDir: filepath.Join(y.dir, ".evil"), good: good, evil: evil}
	y.must(os.Rename(y.make(y.t.TempDir(), "d", "1", "evil", "foreign", 900), a.evilDir))
	return a
}

// strike replaces once, and puts the good one back. Errors are those of a race that is
// lost, and of no matter.
func (a *attacker) strike() {
	n := a.times.Add(1)
	switch n % 4 {
	case 0: // another file under its name
		_ = a.rename(a.evil)
		_ = a.rename(a.good)
	case 1: // other bytes in the same file
		_ = a.overwrite(a.evil)
		_ = a.overwrite(a.good)
	case 2: // the whole package
		_ = unix.Renameat2(unix.AT_FDCWD, a.dir, unix.AT_FDCWD, a.evilDir, unix.RENAME_EXCHANGE)
		_ = unix.Renameat2(unix.AT_FDCWD, a.dir, unix.AT_FDCWD, a.evilDir, unix.RENAME_EXCHANGE)
	case 3: // a link to something else
		_ = os.Remove(a.exe)
		_ = os.Symlink("/bin/false", a.exe)
		_ = a.rename(a.good)
	}
}

func (a *attacker) rename(text []byte) error {
	aside := filepath.Join(filepath.Dir(a.dir), ".aside")
	if err := os.WriteFile(aside, text, 0o755); err != nil {
		return err
	}
	return os.Rename(aside, a.exe)
}

func (a *attacker) overwrite(text []byte) error {
	f, err := os.OpenFile(a.exe, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, 0)
	_ = f.Close()
	return err
}

// What was swapped after the verification does not run at the next start.
func TestSwappedAfterVerification(t *testing.T) {
	y := newYard(t)
	y.put("d", "1", "good", "ours", 100)
	d := y.open()
	i, err := d.Image("d")
	y.must(err)
	a := newAttacker(y)
	y.must(a.rename(a.evil))
	for range 3 { // a start, a restart, a standby
		if text, err := start(i); err != nil || text != "good" {
			t.Fatalf("ran %q, %v", text, err)
		}
	}
	fd := i.File().Fd()
	for what, err := range map[string]error{
		"write":    second(unix.Pwrite(int(fd), []byte("#!/bin/no"), 0)),
		"truncate": unix.Ftruncate(int(fd), 0),
		"grow":     unix.Ftruncate(int(fd), 1<<20),
		"unseal":   second(unix.FcntlInt(fd, unix.F_ADD_SEALS, 0)),
	} {
		if err == nil {
			t.Errorf("%s: the image let it happen", what)
		}
	}
	if text, err := start(i); err != nil || text != "good" {
		t.Errorf("ran %q, %v", text, err)
	}
}

func second(_ int, err error) error { return err }

// Where no file in memory can be executed, a private copy serves as well.
func TestPrivateCopy(t *testing.T) {
	y := newYard(t)
	y.put("d", "1", "good", "ours", 100)
	trust, err := pack.ReadTrust(y.trust)
	y.must(err)
	private := t.TempDir()
	p, err := pack.Opener{Trust: trust, Private: private, NoMemory: true}.Open(filepath.Join(y.dir, "d-1"))
	y.must(err)
	f, err := p.Executable()
	y.must(err)
	if left, err := os.ReadDir(private); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	a := newAttacker(y)
	y.must(a.rename(a.evil))
	for range 2 {
		if text, err := startFile(f); err != nil || text != "good" {
			t.Errorf("ran %q, %v", text, err)
		}
	}
	if err := second(f.WriteAt([]byte("#!/bin/no"), 0)); err == nil {
		t.Error("the copy can be written")
	}
}

package spool_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// TestFaultDiskFull fills a file system of 32 MiB under a running gateway and
// frees it again.
func TestFaultDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small tmpfs; TestFaultFailingDisk injects the same errors")
	}
	mnt := t.TempDir()
	if err := syscall.Mount("none", mnt, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("this machine mounts no tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mnt, 0); err != nil {
			t.Error(err)
		}
	})
	n := rounds(4, 40)
	var acked uint64
	synctest.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(mnt, "spool"), spool.Options{FileBytes: 32 << 10, QueueBytes: 64 << 10})
		defer s.Close()
		for range n {
			fill(t, s, "modbus", acked+1, acked+100)
			ballast := filepath.Join(mnt, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 33<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("filling the disk: %v", err)
			}
			var done atomic.Bool
			var wait sync.WaitGroup
			wait.Go(func() {
				fill(t, s, "modbus", acked+101, acked+1000)
				done.Store(true)
			})
			time.Sleep(time.Hour) // of the bubble
			st := s.Stats()
			var fault *spool.Fault
			if !errors.As(st.Fault, &fault) || !errors.Is(fault, syscall.ENOSPC) || !strings.Contains(fault.Error(), "free room") {
				t.Fatalf("the fault is %v", st.Fault)
			}
			if done.Load() || st.Queued == 0 || st.Queued > 65<<10 {
				t.Fatalf("done %v, %d bytes queued", done.Load(), st.Queued)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			wait.Wait()
			acked += 1000
			if err := s.Stats().Fault; err != nil {
				t.Errorf("the fault stays: %v", err)
			}
		}
		got := readAll(t, s, s.First())
		if d := cmp.Diff(sequence(uint64(s.First()), acked), got.sequences["modbus"]); d != "" || got.lost > 0 {
			t.Errorf("lost %d\n%s", got.lost, d)
		}
	})
	t.Logf(`{"fault":"disk full and freed again","rounds":%d,"acknowledged":%d,"lost":0,"twice":0}`, n, acked)
}

// TestFaultFailingDisk lets every operation fail at random, with what a full and
// a broken disk say, and kills nothing.
func TestFaultFailingDisk(t *testing.T) {
	n := rounds(30, 500)
	var failures atomic.Uint64
	for range n {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			o := spool.Options{FileBytes: 8 << 10}
			broken := errors.New("input/output error")
			o.Inject(func(op string) error {
				switch {
				case rand.IntN(4) > 0:
					return nil
				case rand.IntN(2) > 0:
					failures.Add(1)
					return syscall.ENOSPC
				}
				failures.Add(1)
				return broken
			})
			s := open(t, dir, o)
			for at := uint64(1); at < 200; at += 10 {
				fill(t, s, "modbus", at, at+9)
			}
			if d := cmp.Diff(sequence(1, 200), readAll(t, s, 1).sequences["modbus"]); d != "" {
				t.Error(d)
			}
			s.Close()
			s = open(t, dir, spool.Options{})
			got := readAll(t, s, 1)
			if d := cmp.Diff(sequence(1, 200), got.sequences["modbus"]); d != "" || got.lost > 0 {
				t.Errorf("reopened: lost %d\n%s", got.lost, d)
			}
			s.Close()
		})
	}
	t.Logf(`{"fault":"create, write or sync fails","rounds":%d,"failures":%d,"lost":0,"twice":0}`, n, failures.Load())
}

func TestCloseOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		o := spool.Options{QueueBytes: 2 << 10}
		o.Inject(func(op string) error {
			if full.Load() && op == "write" {
				return syscall.ENOSPC
			}
			return nil
		})
		s := open(t, dir, o)
		fill(t, s, "modbus", 1, 5)
		full.Store(true)
		var refused atomic.Uint64
		var wait sync.WaitGroup
		wait.Go(func() { // blocks at the queue's bound
			for n := uint64(6); n <= 50; n++ {
				s.Append(record("modbus", n), func(err error) {
					if errors.Is(err, spool.ErrClosed) {
						refused.Add(1)
					}
				})
			}
		})
		time.Sleep(time.Minute) // of the bubble
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wait.Wait()
		if got := refused.Load(); got != 45 {
			t.Errorf("%d records were refused, want 45", got)
		}
		s = open(t, dir, spool.Options{})
		if d := cmp.Diff(sequence(1, 5), readAll(t, s, 0).sequences["modbus"]); d != "" {
			t.Error(d)
		}
		fill(t, s, "modbus", 6, 8)
		s.Close()
	})
}

// TestNothingIsStoredBehindARefusedRecord makes the disk free again just when the
// spool closes: what is behind a refused record may not be stored.
func TestNothingIsStoredBehindARefusedRecord(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var failures atomic.Int64
		failures.Store(1)
		o := spool.Options{}
		o.Inject(func(op string) error {
			if op == "write" && failures.Add(-1) == 0 {
				return syscall.ENOSPC
			}
			return nil
		})
		s := open(t, dir, o)
		s.Append(record("modbus", 1), nil)
		time.Sleep(20 * time.Millisecond) // of the bubble: it failed and waits
		s.Append(record("modbus", 2), nil)
		s.Close()
		s = open(t, dir, spool.Options{})
		if got := readAll(t, s, 0); len(got.sequences) > 0 || got.lost > 0 {
			t.Errorf("stored %v, lost %d", got.sequences, got.lost)
		}
		s.Close()
	})
}

package gateway

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// A gateway whose disk takes nothing stops all the same: a stream that waits for room in
// the spool would hold it up for ever.
func TestStopWithADiskThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "spool")
		s, err := spool.Open(dir, spool.Options{QueueBytes: 4 << 10, CommitEvery: -1})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil { // so that no file can be made
			t.Fatal(err)
		}
		var refused atomic.Int32 // the spool refuses some in Append, and some in its own time
		began := time.Now()
		endDrivers(func() {
			for range 100 {
				s.Append(spool.Record{Driver: "d", Data: make([]byte, 1<<10)}, func(err error) {
					if err != nil {
						refused.Add(1)
					}
				})
				s.Commit()
			}
		}, s, slog.New(slog.DiscardHandler))
		if took := time.Since(began); took > time.Minute || refused.Load() != 100 {
			t.Errorf("it stopped after %v, %d of 100 records refused", took, refused.Load())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// As long as the disk takes something, everything is waited for.
func TestStopWaitsForWhatIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := spool.Open(t.TempDir(), spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		endDrivers(func() { time.Sleep(time.Hour) }, s, slog.New(slog.DiscardHandler))
		stored := make(chan error, 1)
		s.Append(spool.Record{Driver: "d"}, func(err error) { stored <- err })
		s.Commit()
		if err := <-stored; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

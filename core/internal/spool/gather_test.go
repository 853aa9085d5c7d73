package spool_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// What nobody waits for is stored by the first Gather after 75 ms, or by itself.
func TestGather(t *testing.T) {
	for name, c := range map[string]struct {
		size int           // of a record
		at   time.Duration // that the second record comes
		want time.Duration // that the first is stored
	}{
		"by a later one": {10, 80 * time.Millisecond, 80 * time.Millisecond},
		"by itself":      {10, 70 * time.Millisecond, 125 * time.Millisecond},
		"a lot of bytes": {200 << 10, 10 * time.Millisecond, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := open(t, dir, spool.Options{CommitEvery: -1})
				defer s.Close()
				began, stored := time.Now(), atomic.Int64{}
				put := func(n uint64) {
					s.Append(spool.Record{Driver: "modbus", Epoch: 1, Sequence: n, Data: make([]byte, c.size)}, func(err error) {
						if err != nil {
							t.Error(err)
						}
						if n == 1 {
							stored.Store(int64(time.Since(began)))
						}
					})
					s.Gather()
				}
				put(1)
				time.Sleep(c.at)
				put(2)
				time.Sleep(time.Second)
				synctest.Wait()
				if got := time.Duration(stored.Load()); got != c.want {
					t.Errorf("stored after %v, want %v", got, c.want)
				}
				if n := s.End(); n != 3 {
					t.Errorf("the end is %d", n)
				}
			})
		})
	}
}

// Somebody who waits for a record has it at once.
func TestGatherIsOverWhereSomebodyWaits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, spool.Options{CommitEvery: -1})
		defer s.Close()
		done := make(chan error, 1)
		go func() { done <- s.Wait(context.Background(), s.End()) }()
		synctest.Wait()
		began := time.Now()
		s.Append(spool.Record{Driver: "modbus", Epoch: 1, Sequence: 1}, nil)
		s.Gather()
		if err := <-done; err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

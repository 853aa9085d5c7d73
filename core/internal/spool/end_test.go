package spool_test

import (
	"errors"
	"io"
	"testing"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// A reader that is at the end while more is stored is told of no loss: what came since it
// looked is not read yet, and not gone.
func TestReaderAtTheEndTellsOfNoLoss(t *testing.T) {
	s := open(t, t.TempDir(), spool.Options{CommitEvery: -1})
	const total = 1000
	stored := make(chan struct{})
	go func() {
		defer close(stored)
		done := make(chan error, 1)
		for n := uint64(1); n <= total; n++ {
			s.Append(record("a", n), func(err error) { done <- err })
			s.Commit()
			if err := <-done; err != nil {
				t.Error(err)
				return
			}
		}
	}()
	r := s.Read(0)
	for read := 0; read < total; {
		switch _, _, err := r.Next(); {
		case err == nil:
			read++
		case !errors.Is(err, io.EOF):
			t.Fatalf("after %d records: %v", read, err)
		}
	}
	<-stored
}

package spool_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

func TestMain(m *testing.M) {
	if work, ok := children[os.Getenv(childEnv)]; ok {
		work()
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string, o spool.Options) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// data is what record n of a driver holds: its length and bytes follow from n.
func data(n uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, n)
	return append(b, bytes.Repeat([]byte{byte(n), byte(n >> 8)}, int(n*37%300))...)
}

func record(driver string, n uint64) spool.Record {
	return spool.Record{Driver: driver, Epoch: 7, Sequence: n, Data: data(n)}
}

// fill appends the records from to to of a driver and waits until all are stored.
func fill(t testing.TB, s *spool.Spool, driver string, from, to uint64) {
	t.Helper()
	var wait sync.WaitGroup
	for n := from; n <= to; n++ {
		wait.Add(1)
		s.Append(record(driver, n), func(err error) {
			if err != nil {
				t.Errorf("record %d: %v", n, err)
			}
			wait.Done()
		})
	}
	s.Commit()
	wait.Wait()
}

// contents is what a reader sees: the sequences of each driver, and the losses.
type contents struct {
	sequences map[string][]uint64
	lost      uint64
	losses    []*spool.LossError
}

func readAll(t testing.TB, s *spool.Spool, from spool.Position) contents {
	t.Helper()
	c := contents{sequences: map[string][]uint64{}}
	r := s.Read(from)
	next := r.Position()
	for {
		rec, p, err := r.Next()
		var loss *spool.LossError
		switch {
		case errors.Is(err, io.EOF):
			if next != s.End() {
				t.Errorf("the reader ended at %d, the spool at %d", next, s.End())
			}
			return c
		case errors.As(err, &loss):
			if loss.From != next || loss.Records != uint64(loss.To-loss.From) || loss.To <= loss.From {
				t.Errorf("loss %+v at %d", loss, next)
			}
			next = loss.To
			c.lost += loss.Records
			c.losses = append(c.losses, loss)
			continue
		case err != nil:
			t.Fatal(err)
		case p != next:
			t.Errorf("record at %d, want %d", p, next)
		}
		if rec.Sequence > 0 && !bytes.Equal(rec.Data, data(rec.Sequence)) {
			t.Errorf("record %d of %s holds the wrong bytes", rec.Sequence, rec.Driver)
		}
		next = p + 1
		c.sequences[rec.Driver] = append(c.sequences[rec.Driver], rec.Sequence)
	}
}

func sequence(from, to uint64) (list []uint64) {
	for n := from; n <= to; n++ {
		list = append(list, n)
	}
	return list
}

func TestStoredIsReadBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, spool.Options{FileBytes: 4096})
	fill(t, s, "modbus", 1, 100)
	fill(t, s, "mqtt", 1, 50)
	s.Append(spool.Record{Data: []byte("gap")}, nil)
	s.Append(spool.Record{Data: []byte("gap")}, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, spool.Options{FileBytes: 4096})
	want := map[string][]uint64{"modbus": sequence(1, 100), "mqtt": sequence(1, 50), "": {0, 0}}
	if d := cmp.Diff(want, readAll(t, s, 0).sequences); d != "" {
		t.Error(d)
	}
	if epoch, seq := s.Mark("modbus"); epoch != 7 || seq != 100 {
		t.Errorf("mark %d %d, want 7 100", epoch, seq)
	}
	st := s.Stats()
	if st.Records != 152 || st.Files < 4 || st.Lost != 0 || st.Fault != nil || st.First.IsZero() || st.Last.Before(st.First) {
		t.Errorf("stats %+v", st)
	}
}

func TestReopenGoesOnInTheSameFile(t *testing.T) {
	dir := t.TempDir()
	for n := uint64(1); n <= 20; n++ {
		s := open(t, dir, spool.Options{})
		fill(t, s, "modbus", n, n)
		if st := s.Stats(); st.Files != 1 || st.Records != n {
			t.Fatalf("stats %+v after opening %d", st, n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDuplicatesAreDropped(t *testing.T) {
	s := open(t, t.TempDir(), spool.Options{})
	fill(t, s, "modbus", 1, 10)
	fill(t, s, "modbus", 5, 12) // a replay after a reattach
	old := spool.Record{Driver: "modbus", Epoch: 8, Sequence: 1, Data: data(1)}
	s.Append(old, nil) // another process of the driver
	fill(t, s, "modbus", 11, 13)
	want := append(sequence(1, 12), 1, 13)
	if d := cmp.Diff(want, readAll(t, s, 0).sequences["modbus"]); d != "" {
		t.Error(d)
	}
	if got := s.Stats().Duplicates; got != 8 {
		t.Errorf("%d duplicates, want 8", got)
	}
	if got := s.MarkOf("modbus", 8); got != 1 {
		t.Errorf("mark of epoch 8: %d", got)
	}
}

func TestAPoolOfProcessesIsRemembered(t *testing.T) {
	const processes = 64 // sixteen members and as many spares, both versions of each
	dir := t.TempDir()
	s := open(t, dir, spool.Options{})
	store := func(sequence uint64) {
		for epoch := range uint64(processes) {
			s.Append(spool.Record{Driver: "modbus", Epoch: epoch + 1, Sequence: sequence, Data: data(sequence)}, nil)
		}
	}
	store(1)
	store(2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, spool.Options{})
	store(2) // replays after a restart of the core
	store(3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, spool.Options{})
	for epoch := range uint64(processes) {
		if got := s.MarkOf("modbus", epoch+1); got != 3 {
			t.Errorf("mark of epoch %d: %d", epoch+1, got)
		}
	}
	if n := len(readAll(t, s, 0).sequences["modbus"]); n != 3*processes {
		t.Errorf("%d records, want %d", n, 3*processes)
	}
}

func TestDuplicateWaitsForItsOriginal(t *testing.T) {
	s := open(t, t.TempDir(), spool.Options{})
	var order []string
	done := make(chan struct{})
	s.Append(record("modbus", 1), func(error) { order = append(order, "original") })
	s.Append(record("modbus", 1), func(error) { order = append(order, "duplicate"); close(done) })
	<-done
	if d := cmp.Diff([]string{"original", "duplicate"}, order); d != "" {
		t.Error(d)
	}
}

func TestTooLargeIsRefused(t *testing.T) {
	s := open(t, t.TempDir(), spool.Options{})
	got := make(chan error, 2)
	s.Append(spool.Record{Data: make([]byte, spool.MaxRecord+1)}, func(err error) { got <- err })
	s.Append(spool.Record{Data: make([]byte, spool.MaxRecord)}, func(err error) { got <- err })
	if err := <-got; !errors.Is(err, spool.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if err := <-got; err != nil {
		t.Errorf("got %v", err)
	}
	if r, _, err := s.Read(0).Next(); err != nil || len(r.Data) != spool.MaxRecord {
		t.Errorf("read %d bytes, %v", len(r.Data), err)
	}
}

func TestSecondGatewayIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, spool.Options{})
	_, err := spool.Open(dir, spool.Options{})
	if !errors.Is(err, spool.ErrLocked) || !bytes.Contains([]byte(err.Error()), fmt.Appendf(nil, "process %d", os.Getpid())) {
		t.Errorf("got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, spool.Options{})
}

func TestTailing(t *testing.T) {
	s := open(t, t.TempDir(), spool.Options{FileBytes: 2048, MaxBytes: 1 << 30})
	const n = 500
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			r := s.Read(1)
			for want := uint64(1); want <= n; want++ {
				rec, _, err := r.Next()
				for errors.Is(err, io.EOF) {
					if err := r.Wait(context.Background()); err != nil {
						t.Error(err)
						return
					}
					rec, _, err = r.Next()
				}
				if err != nil || rec.Sequence != want {
					t.Errorf("record %d, %v; want %d", rec.Sequence, err, want)
					return
				}
			}
		})
	}
	fill(t, s, "modbus", 1, n)
	wait.Wait()
}

func TestWaitEnds(t *testing.T) {
	s := open(t, t.TempDir(), spool.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan error, 1)
	go func() { got <- s.Wait(ctx, s.End()) }()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	go func() { got <- s.Wait(context.Background(), s.End()) }()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, spool.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, _, err := s.Read(0).Next(); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	s.Append(record("modbus", 1), func(err error) { got <- err })
	if err := <-got; !errors.Is(err, spool.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}

func TestSeekByTime(t *testing.T) {
	s := open(t, t.TempDir(), spool.Options{FileBytes: 2048})
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for n := uint64(1); n <= 60; n++ {
		r := record("modbus", n)
		r.Stored = start.Add(time.Duration(n) * time.Second)
		s.Append(r, nil)
	}
	fill(t, s, "mqtt", 1, 1)
	for at, want := range map[time.Duration]spool.Position{
		-time.Hour: 1, time.Second: 1, 1500 * time.Millisecond: 2, 30 * time.Second: 30, 60 * time.Second: 60, 61 * time.Second: 61,
	} {
		if got := s.Seek(start.Add(at)); got != want {
			t.Errorf("seek %v: %d, want %d", at, got, want)
		}
	}
	if got := s.Seek(time.Now().Add(time.Hour)); got != s.End() {
		t.Errorf("seek the future: %d, want %d", got, s.End())
	}
}

func TestIdleSpoolSleeps(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, spool.Options{})
		fill(t, s, "modbus", 1, 1)
		// A committer that woke every few milliseconds would be at this for minutes.
		time.Sleep(24 * time.Hour)
		if got := s.Stats().Syncs; got != 1 {
			t.Errorf("%d syncs", got)
		}
	})
}

// A driver that floods leaves room in the queue for others.
func TestQueueHasRoomForEveryDriver(t *testing.T) {
	var full atomic.Bool
	full.Store(true)
	o := spool.Options{QueueBytes: 1 << 20}
	o.Inject(func(op string) error {
		if full.Load() && op == "write" {
			return syscall.ENOSPC
		}
		return nil
	})
	s := open(t, t.TempDir(), o)
	stop := make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() {
		for seq := uint64(1); ; seq++ {
			select {
			case <-stop:
				return
			default:
				s.Append(spool.Record{Driver: "flood", Epoch: 1, Sequence: seq, Data: make([]byte, 64<<10)}, nil)
			}
		}
	})
	for s.Stats().Queued < 400<<10 { // it has half of the queue, or is about to
		runtime.Gosched()
	}
	queued := make(chan struct{})
	go func() {
		for seq := range uint64(100) {
			s.Append(spool.Record{Driver: "honest", Epoch: 1, Sequence: seq + 1, Data: make([]byte, 1000)}, nil)
		}
		close(queued)
	}()
	select {
	case <-queued:
	case <-time.After(time.Minute):
		t.Error("the honest driver waits for the one that floods")
	}
	if n := s.Stats().Queued; n > 1<<20 {
		t.Errorf("%d bytes are queued", n)
	}
	close(stop)
	full.Store(false)
	flood.Wait()
	<-queued
}

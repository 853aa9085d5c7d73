package samples

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/stream"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// replay is what is stored, from after a position.
func (b *bench) replay(o client.WatchOptions) *sink {
	b.t.Helper()
	o.Replay = true
	s := newSink(0)
	if err := b.Watch(b.t.Context(), o, s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

func lines(samples []client.Sample) []string {
	list := []string{}
	for i := range samples {
		list = append(list, string(samples[i].AppendJSON(nil)))
	}
	return list
}

// A stream that is cut off behind any line at all goes on with the next one.
func TestEveryPositionIsAPlaceToGoOn(t *testing.T) {
	b := newBench(t)
	for n := range 3 {
		b.store(n)
	}
	b.append(func(seq uint64) []byte {
		return wire.AppendFrame(nil, seq, nil, &frame.Gap{Samples: 7, Cause: driver.Errorf(driver.Lost, "the ring was full")})
	})
	b.append(func(uint64) []byte { return []byte{0xff, 0xff, 0xff} })
	b.store(3)
	for _, patterns := range [][]string{nil, {"line1/m1/i"}} {
		all := b.replay(client.WatchOptions{Patterns: patterns})
		if got := all.begun.String(); got != "0" {
			t.Errorf("a replay of everything begins after %v", got)
		}
		for i := range all.samples {
			p := all.samples[i].Position
			if p.IsZero() || all.samples[i].Stored.IsZero() && all.samples[i].Link != "" {
				t.Fatalf("no place or time: %s", lines(all.samples[i:i+1]))
			}
			rest := b.replay(client.WatchOptions{Patterns: patterns, After: p})
			if diff := cmp.Diff(lines(all.samples[i+1:]), lines(rest.samples)); diff != "" {
				t.Errorf("after %v (-want +got):\n%s", p, diff)
			}
			if rest.begun != p {
				t.Errorf("a stream after %v begins after %v", p, rest.begun)
			}
		}
	}
}

func TestALiveWatcherGoesOnWhereItBegan(t *testing.T) {
	b := newBench(t)
	b.store(0)
	s := newSink(2)
	watched := make(chan error, 1)
	go func() { watched <- b.Watch(t.Context(), client.WatchOptions{Patterns: []string{"line1/m1/u"}}, s) }()
	<-s.flushed
	b.store(1)
	b.store(2)
	<-watched
	b.replay(client.WatchOptions{Patterns: []string{"line1/m1/u"}, After: s.begun}).wantValues(t, 1, 2)
}

// What retention removed between two streams is told, once, and then goes on.
func TestGoingOnTellsWhatWasRetired(t *testing.T) {
	b := newBench(t)
	if err := b.spool.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.spool, err = spool.Open(t.TempDir(), spool.Options{CommitEvery: 1, MaxBytes: 8 << 10, FileBytes: 1 << 10}); err != nil {
		t.Fatal(err)
	}
	b.Service = New(b.inForce, stream.Store{Spool: b.spool, Catalog: b.catalog}, nil)
	b.store(0)
	first := b.replay(client.WatchOptions{}).samples[0].Position
	for n := 1; b.spool.First() <= 2; n++ {
		b.store(n)
	}
	rest := b.replay(client.WatchOptions{After: first}).samples
	if f := rest[0].Fault; f == nil || f.Code != "lost" || rest[1].Fault != nil {
		t.Fatalf("%s", lines(rest[:2]))
	}
	if got := rest[1].Position; got.Record != uint64(b.spool.First()) || got.Sample != 1 {
		t.Errorf("goes on with %v, the oldest record is %d", got, b.spool.First())
	}
	again := b.replay(client.WatchOptions{After: rest[0].Position}).samples
	if diff := cmp.Diff(lines(rest[1:]), lines(again)); diff != "" {
		t.Errorf("after the line that tells of it (-want +got):\n%s", diff)
	}
}

// A position of another spool is not taken for one of this one.
func TestAPositionBehindTheEndIsTold(t *testing.T) {
	b := newBench(t)
	b.store(0)
	s := b.replay(client.WatchOptions{After: client.Position{Record: 77, Sample: 1}})
	if len(s.samples) != 3 || !strings.Contains(faultText(&s.samples[0]), "position 77.1 lies behind the end") {
		t.Errorf("%s", lines(s.samples))
	}
}

package samples

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/stream"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// bench is a gateway without drivers: a spool, a catalog with the device line1/m1
// and its points u and i, and the fan-out.
type bench struct {
	*Service
	spool   *spool.Spool
	catalog *catalog.Catalog
	t       *testing.T
	first   uint32 // handle of line1/m1/u
	seq     uint64
}

func newBench(t *testing.T) *bench {
	t.Helper()
	d, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t}
	t.Cleanup(func() {
		if b.Service != nil {
			b.Close()
		}
		if b.spool != nil {
			err = b.spool.Close()
		}
		if err := errors.Join(err, d.Close()); err != nil {
			t.Error(err)
		}
	})
	if b.catalog, err = catalog.Open(d.DB); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(
		"links: {line1: {driver: modbus, devices: {m1: {points: {u: {address: \"1\"}, i: {address: \"2\"}}}}}}\n")})
	if err != nil {
		t.Fatal(err)
	}
	states, err := b.catalog.States(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	if b.spool, err = spool.Open(t.TempDir(), spool.Options{CommitEvery: time.Microsecond}); err != nil {
		t.Fatal(err)
	}
	b.Service = New(inforce.NewCurrent(cfg, time.Now()), stream.Store{Spool: b.spool, Catalog: b.catalog}, nil)
	b.first = states["modbus"].Links[0].Devices[0].FirstHandle
	return b
}

// store stores a batch of one sample of each point, with values n and n+0.5.
func (b *bench) store(n int) {
	batch := &frame.Batch{Blocks: []frame.Block{{Runs: []uint32{b.first, 2}, Time: int64(n), Kind: driver.KindFloat64,
		Floats: []float64{float64(n), float64(n) + 0.5}}}}
	b.append(func(seq uint64) []byte { return wire.AppendFrame(nil, seq, batch, nil) })
}

func (b *bench) append(frame func(seq uint64) []byte) {
	b.seq++
	r := spool.Record{Driver: "modbus", Epoch: 1, Sequence: b.seq, Stored: time.Now(), Data: frame(b.seq)}
	stored := make(chan error, 1)
	b.spool.Append(r, func(err error) { stored <- err })
	if err := <-stored; err != nil {
		b.t.Error(err)
	}
}

// sink gathers samples and tells of them.
type sink struct {
	mu      sync.Mutex
	begun   client.Position
	samples []client.Sample
	flushed chan int // how many samples there were at each flush
	stop    int      // fail when there are so many; 0: never
	block   chan struct{}
}

var errEnough = errors.New("enough")

func newSink(stop int) *sink { return &sink{flushed: make(chan int, 10_000), stop: stop} }

func (s *sink) Begin(after client.Position) { s.begun = after }

func (s *sink) Sample(sample *client.Sample) error {
	if s.block != nil {
		<-s.block
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, *sample)
	if len(s.samples) == s.stop {
		return errEnough
	}
	return nil
}

func (s *sink) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushed <- len(s.samples)
	return nil
}

func (s *sink) wantValues(t *testing.T, first, count int) {
	t.Helper()
	if len(s.samples) != count {
		t.Fatalf("%d samples, want %d", len(s.samples), count)
	}
	for i := range s.samples {
		if v := s.samples[i].Value.Float64(); v != float64(first+i) {
			t.Fatalf("sample %d is %v, want %d: a hole or a repetition", i, v, first+i)
		}
	}
}

func TestWatchSinceReplaysAndGoesOnWithoutHoleOrRepetition(t *testing.T) {
	b := newBench(t)
	const before, total = 50, 300
	for n := range before {
		b.store(n)
	}
	s := newSink(total)
	watched := make(chan error, 1)
	go func() {
		watched <- b.Watch(t.Context(), client.WatchOptions{Patterns: []string{"line1/m1/u"}, Since: time.Now().Add(-time.Hour)}, s)
	}()
	for n := before; n < total; n++ {
		b.store(n)
	}
	if err := <-watched; !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	s.wantValues(t, 0, total)
}

func TestWatchSinceLeavesOutWhatIsOlder(t *testing.T) {
	b := newBench(t)
	b.store(0)
	since := time.Now()
	b.store(1)
	s := newSink(0)
	if err := b.Watch(t.Context(), client.WatchOptions{Patterns: []string{"line1/*/u"}, Since: since, Replay: true}, s); err != nil {
		t.Fatal(err)
	}
	s.wantValues(t, 1, 1)
}

func TestWatchForEndsByItself(t *testing.T) {
	b := newBench(t)
	b.store(0)
	for name, since := range map[string]time.Time{"live": {}, "stored": time.Now().Add(-time.Hour)} {
		if err := b.Watch(t.Context(), client.WatchOptions{Since: since, For: time.Millisecond}, newSink(0)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWatchLive(t *testing.T) {
	b := newBench(t)
	b.store(0)
	s := newSink(4)
	watched := make(chan error, 1)
	go func() { watched <- b.Watch(t.Context(), client.WatchOptions{}, s) }()
	<-s.flushed // it misses nothing any more
	b.store(1)
	b.store(2)
	if err := <-watched; !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	var got []string
	for i := range s.samples {
		got = append(got, fmt.Sprint(s.samples[i].Path(), "=", s.samples[i].Value))
	}
	if want := "line1/m1/u=1 line1/m1/i=1.5 line1/m1/u=2 line1/m1/i=2.5"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestASlowWatcherIsToldWhatItLost(t *testing.T) {
	b := newBench(t)
	s := newSink(0)
	s.block = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- b.Watch(ctx, client.WatchOptions{Patterns: []string{"line1/m1/u"}}, s) }()
	<-s.flushed
	const sent = watchDepth + 100
	for n := range sent {
		b.store(n)
	}
	close(s.block)
	lost, seen := 0, 0
	for count := range s.flushed {
		s.mu.Lock()
		seen, lost = 0, 0
		for i := range s.samples {
			var frames int
			if _, err := fmt.Sscanf(faultText(&s.samples[i]), "this watcher was too slow: %d frames dropped", &frames); err == nil {
				lost += frames
			} else {
				seen++
			}
		}
		s.mu.Unlock()
		if count > 0 && seen+lost == sent {
			break
		}
	}
	cancel()
	if err := <-watched; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if lost == 0 || lost+seen != sent {
		t.Errorf("%d seen and %d told as lost, of %d", seen, lost, sent)
	}
}

func faultText(s *client.Sample) string {
	if s.Fault == nil {
		return ""
	}
	return s.Fault.Text
}

func TestAGapSaysWhoseSamplesItIs(t *testing.T) {
	many := []frame.GapLink{{Link: "a", Polls: 12}, {Link: "b", Device: "d", Uncounted: true}}
	for i := range 9 {
		many = append(many, frame.GapLink{Link: fmt.Sprint("l", i), Polls: 2})
	}
	for want, links := range map[string][]frame.GapLink{
		"the driver died":                          nil,
		"the driver died; of a/d":                  {{}, {Link: "a", Device: "d"}},
		"the driver died; of others (7 polls due)": {{Polls: 7}},
		"the driver died; of a (12 polls due), b/d, l0 (2 polls due), l1 (2 polls due), l2 (2 polls due), l3 (2 polls due), l4 (2 polls due), " +
			"l5 (2 polls due), others (6 polls due)": many,
	} {
		b := newBench(t)
		gap := &frame.Gap{Cause: driver.Errorf(driver.Lost, "the driver died"), Links: links}
		b.append(func(seq uint64) []byte { return wire.AppendFrame(nil, seq, nil, gap) })
		s := newSink(0)
		if err := b.Watch(t.Context(), client.WatchOptions{Replay: true}, s); err != nil {
			t.Fatal(err)
		}
		if len(s.samples) != 1 || s.samples[0].Fault == nil || s.samples[0].Fault.Text != "driver modbus: "+want {
			t.Errorf("%+v, want %s of driver modbus", s.samples, want)
		}
	}
}

func TestGapsAndGarbageAreTold(t *testing.T) {
	b := newBench(t)
	from := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	gap := &frame.Gap{Samples: 7, From: from, To: from.Add(time.Second), Cause: driver.Errorf(driver.Lost, "the ring was full")}
	b.append(func(seq uint64) []byte { return wire.AppendFrame(nil, seq, nil, gap) })
	b.append(func(uint64) []byte { return []byte{0xff, 0xff, 0xff} })
	foreign := &frame.Batch{Blocks: []frame.Block{{Runs: []uint32{9_999_999, 1}, Kind: driver.KindBool, Bools: []bool{true}}}}
	b.append(func(seq uint64) []byte { return wire.AppendFrame(nil, seq, foreign, nil) })
	s := newSink(0)
	if err := b.Watch(t.Context(), client.WatchOptions{Replay: true}, s); err != nil {
		t.Fatal(err)
	}
	if len(s.samples) != 3 {
		t.Fatalf("%d samples, want 3: %+v", len(s.samples), s.samples)
	}
	for i, want := range []string{"driver modbus: 7 samples lost: the ring was full (from 2026-01-02T03:04:05Z to 2026-01-02T03:04:06Z)", "driver modbus: a frame cannot be decoded"} {
		if f := s.samples[i].Fault; f == nil || f.Code != "lost" || !strings.HasPrefix(f.Text, want) || s.samples[i].Quality != driver.Bad {
			t.Errorf("sample %d: %+v, want %s", i, s.samples[i], want)
		}
	}
	if p := s.samples[2].Point; p != "handle-9999999" {
		t.Errorf("a handle that nobody knows is named %q", p)
	}
}

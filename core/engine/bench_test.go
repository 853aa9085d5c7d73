package engine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/frame"
)

// instant is a driver whose devices answer at once.
type instant struct {
	polls atomic.Int64
	most  int64
	done  chan struct{}
}

func (d *instant) Info() driver.Info { return driver.Info{Name: "instant", Version: "1.0.0"} }

func (d *instant) Open(context.Context, driver.LinkConfig, driver.Env) (driver.Link, error) {
	return instantLink{d}, nil
}

type instantLink struct{ d *instant }

func (l instantLink) Device(context.Context, driver.DeviceConfig) (driver.Device, error) {
	return l, nil
}
func (l instantLink) Close(context.Context) error { return nil }

func (l instantLink) Read(ctx context.Context, _ []driver.Point, out []driver.Sample) error {
	if _, ok := ctx.Deadline(); !ok {
		return context.DeadlineExceeded
	}
	for i := range out {
		out[i] = driver.GoodSample(driver.Int64Value(int64(i)))
	}
	if n := l.d.polls.Add(1); n == l.d.most {
		close(l.d.done)
	}
	return nil
}

// encode is about the cheapest that a wire could be.
func encode(dst []byte, seq uint64, b *frame.Batch, _ *frame.Gap) []byte {
	dst = binary.AppendUvarint(dst, seq)
	if b == nil {
		return dst
	}
	for i := range b.Blocks {
		for _, v := range b.Blocks[i].Ints {
			dst = binary.AppendVarint(dst, v)
		}
		for _, v := range b.Blocks[i].Floats {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
		}
	}
	return dst
}

// consume acknowledges what comes until ctx ends.
func consume(ctx context.Context, r *engine.Ring) {
	for {
		f, err := r.Next(ctx)
		if err != nil {
			return
		}
		r.Ack(f.Sequence)
	}
}

// BenchmarkPoll is the engine's own cost of a poll of 100 points.
func BenchmarkPoll(b *testing.B) {
	for name, change := range map[string]func(int, *control.Point){
		"plain":  func(int, *control.Point) {},
		"scaled": func(_ int, p *control.Point) { p.Scale = ptr(0.1) },
	} {
		b.Run(name, func(b *testing.B) {
			d := &instant{most: int64(b.N), done: make(chan struct{})}
			e := engine.New(d, engine.Options{Encode: encode})
			l := link("l", 1, table(100, change))
			l.Classes[0].Period = 0
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan struct{})
			go func() { consume(ctx, e.Ring()); close(ended) }()
			b.ReportAllocs()
			b.ResetTimer()
			if _, err := e.Apply(ctx, &control.State{Links: []control.Link{l}}, control.ApplyOptions{}); err != nil {
				b.Fatal(err)
			}
			<-d.done
			b.StopTimer()
			if err := e.Close(ctx); err != nil {
				b.Error(err)
			}
			cancel()
			<-ended
		})
	}
}

// BenchmarkBare is what BenchmarkSchedule is held against: a goroutine for each of
// 1,000 devices that wakes at the same slots, makes the same call and throws the
// answer away.
func BenchmarkBare(b *testing.B) {
	d := &instant{most: math.MaxInt64}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	points := make([]driver.Point, 100)
	start := time.Now().Truncate(time.Second).Add(time.Second)
	for i := range 1000 {
		running.Go(func() {
			out := make([]driver.Sample, len(points))
			for due := start.Add(time.Duration(i%20) * 50 * time.Millisecond); ; due = due.Add(time.Second) {
				select {
				case <-time.After(time.Until(due)):
				case <-ctx.Done():
					return
				}
				clear(out)
				call, end := context.WithDeadline(ctx, due.Add(time.Second))
				_ = instantLink{d}.Read(call, points, out) // it never fails
				end()
			}
		})
	}
	measure(b, d)
	cancel()
	running.Wait()
}

// BenchmarkSchedule is the CPU of 1,000 links of 100 points at one poll a second,
// for a million points: wake-ups, batches and ring, without any I/O.
func BenchmarkSchedule(b *testing.B) {
	d := &instant{most: math.MaxInt64}
	e := engine.New(d, engine.Options{Encode: encode})
	t := table(100)
	s := &control.State{}
	for i := range 1000 {
		l := link(fmt.Sprintf("l%d", i), 1, t)
		l.Devices[0].FirstHandle = uint32(100*i + 1)
		s.Links = append(s.Links, l)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { consume(ctx, e.Ring()); close(ended) }()
	if _, err := e.Apply(ctx, s, control.ApplyOptions{}); err != nil {
		b.Fatal(err)
	}
	measure(b, d)
	if err := e.Close(ctx); err != nil {
		b.Error(err)
	}
	cancel()
	<-ended
}

func measure(b *testing.B, d *instant) {
	<-time.After(time.Second)
	b.ResetTimer()
	before, polls, began := cpu(), d.polls.Load(), time.Now()
	for range b.N {
		<-time.After(3 * time.Second) // the load goes on by itself
	}
	spent, made := cpu()-before, d.polls.Load()-polls
	b.ReportMetric(spent.Seconds()/float64(made)*10_000, "cpu-s/Mpoint")
	b.ReportMetric(float64(made)/time.Since(began).Seconds(), "polls/s")
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package plugin_test

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// collector is a Handler that checks every frame and passes its sequence on.
type collector struct {
	t          testing.TB
	sequences  chan uint64
	events     chan control.Event
	heartbeats chan uint64
}

func newCollector(t testing.TB) *collector {
	return &collector{
		t: t, sequences: make(chan uint64, 2*fakeFrames),
		events: make(chan control.Event, 100), heartbeats: make(chan uint64, 100),
	}
}

func (c *collector) Frame(seq uint64, frame []byte) {
	inside, batch, _, err := wire.DecodeFrame(frame)
	if err != nil || inside != seq || batch.Blocks[0].Floats[0] != float64(seq) {
		c.t.Errorf("frame %d: %d, %v", seq, inside, err)
	}
	c.sequences <- seq
}

func (c *collector) Event(e control.Event)     { c.events <- e }
func (c *collector) Heartbeat(progress uint64) { c.heartbeats <- progress }

func attach(t *testing.T, p *host.Process, h host.Hello, to host.Handler) *host.Attachment {
	t.Helper()
	a, err := p.Attach(t.Context(), h, to)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestNothingIsLostOrTwice(t *testing.T) {
	p := launch(t, command("fake"))
	stored := uint64(0) // what the core has stored and acknowledged, over all attachments
	for attachment := 0; stored < fakeFrames; attachment++ {
		c := newCollector(t)
		h := host.Hello{CoreEpoch: 1, ProcessEpoch: fakeEpoch, ResumeAfter: stored, Frames: 64}
		if attachment == 0 {
			h.ProcessEpoch = 0
		}
		a := attach(t, p, h, c)
		if a.NextSequence() != stored+1 || a.ProcessEpoch() != fakeEpoch {
			t.Fatalf("welcome: %d of %d, want %d", a.NextSequence(), a.ProcessEpoch(), stored+1)
		}
		// Some frames come and are not acknowledged: they must come again.
		for range min(150, fakeFrames-stored) {
			seq := waitFor(t, c.sequences, "frame")
			if seq != stored+1 {
				t.Fatalf("frame %d after %d", seq, stored)
			}
			stored = seq
			a.Ack(stored)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if a.Err() != nil {
			t.Errorf("after Close: %v", a.Err())
		}
	}
}

func TestFramesOfAnotherEpochAreNotResumed(t *testing.T) {
	p := launch(t, command("fake"))
	a := attach(t, p, host.Hello{CoreEpoch: 1, ProcessEpoch: fakeEpoch + 1, ResumeAfter: 77}, newCollector(t))
	defer a.Close()
	if a.NextSequence() != 1 {
		t.Errorf("resumed at %d with the sequence of another process", a.NextSequence())
	}
}

func TestCreditIsRespected(t *testing.T) {
	frame := len(wire.FrameEncoder()(nil, 1, &newFakeRing(1).batch, nil))
	for name, h := range map[string]host.Hello{
		"frames": {CoreEpoch: 1, Frames: 10},
		"bytes":  {CoreEpoch: 1, Bytes: uint64(10*frame + frame/2)},
	} {
		p := launch(t, command("fake"))
		c := newCollector(t)
		a := attach(t, p, h, c)
		stored := uint64(0)
		for want := uint64(10); want <= 30; want += 5 {
			for stored < want {
				stored = waitFor(t, c.sequences, "frame within the credit")
			}
			// What is sent beyond the credit has come when the driver's next
			// messages have.
			for range 3 {
				readText(t, p, "event")
				waitEvent(t, c, control.Degraded)
			}
			if n := len(c.sequences); n != 0 {
				t.Fatalf("%s: %d frames beyond the credit", name, n)
			}
			a.Ack(stored - 5)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

func waitEvent(t *testing.T, c *collector, want control.Condition) {
	t.Helper()
	for waitFor(t, c.events, "event").Condition != want {
	}
}

func TestFrameLargerThanTheCredit(t *testing.T) {
	p := launch(t, command("fake"))
	c := newCollector(t)
	a := attach(t, p, host.Hello{CoreEpoch: 1, Bytes: 1}, c)
	defer a.Close()
	for range 5 {
		a.Ack(waitFor(t, c.sequences, "frame"))
	}
}

func TestHigherEpochEvicts(t *testing.T) {
	p := launch(t, command("fake"))
	first, second := newCollector(t), newCollector(t)
	a := attach(t, p, host.Hello{CoreEpoch: 5, Frames: 4}, first)
	waitFor(t, first.sequences, "frame")
	if _, err := p.Attach(t.Context(), host.Hello{CoreEpoch: 4}, second); !errors.Is(err, wire.ErrEvicted) {
		t.Errorf("a lower epoch: %v", err)
	}
	b := attach(t, p, host.Hello{CoreEpoch: 6, Frames: 4}, second)
	defer b.Close()
	waitFor(t, a.Done(), "eviction")
	if !errors.Is(a.Err(), wire.ErrEvicted) {
		t.Errorf("evicted: %v", a.Err())
	}
	if seq := waitFor(t, second.sequences, "frame"); seq != 1 {
		t.Errorf("the newcomer begins at %d", seq)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// blocker is a core that does not read.
type blocker struct {
	collector
	blocked chan struct{}
	once    sync.Once
	release chan struct{}
}

func (b *blocker) Frame(uint64, []byte) {
	b.once.Do(func() { close(b.blocked) })
	<-b.release
}

func TestCoreThatDoesNotReadIsEvicted(t *testing.T) {
	p := launch(t, command("saturate"))
	slow := &blocker{collector: *newCollector(t), blocked: make(chan struct{}), release: make(chan struct{})}
	a := attach(t, p, host.Hello{CoreEpoch: 1, Frames: 1 << 30, Bytes: 1 << 40}, slow)
	waitFor(t, slow.blocked, "frame")
	c := newCollector(t)
	b := attach(t, p, host.Hello{CoreEpoch: 1, Frames: 4}, c)
	waitFor(t, c.sequences, "frame")
	close(slow.release)
	waitFor(t, a.Done(), "end of the one evicted")
	if !errors.Is(a.Err(), wire.ErrEvicted) {
		t.Errorf("evicted: %v", a.Err())
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestConditionsAndEvents(t *testing.T) {
	p := launch(t, command("fake"))
	c := newCollector(t)
	a := attach(t, p, host.Hello{CoreEpoch: 1}, c)
	defer a.Close()
	got := []control.Event{waitFor(t, c.events, "condition"), waitFor(t, c.events, "condition")}
	readText(t, p, "event")
	got = append(got, waitFor(t, c.events, "event"))
	want := []control.Event{
		{Link: "line1", Condition: control.Up},
		{Link: "line1", Device: "m1", Condition: control.Down},
		{Link: "line1", Condition: control.Degraded, Cause: driver.Errorf(driver.Timeout, "silent")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if progress := waitFor(t, c.heartbeats, "heartbeat"); progress != 5 {
		t.Errorf("progress %d", progress)
	}
}

func TestSilenceEndsTheAttachment(t *testing.T) {
	command := command("fake")
	command.HeartbeatTimeout = 1500 * time.Millisecond
	p := launch(t, command)
	a := attach(t, p, host.Hello{CoreEpoch: 1}, newCollector(t))
	stop(t, p)
	waitFor(t, a.Done(), "end of the attachment")
	if driver.CodeOf(a.Err()) != driver.Timeout {
		t.Errorf("%v", a.Err())
	}
	t.Log(a.Err())
}

func TestAttachmentEndsWithTheProcess(t *testing.T) {
	p := launch(t, command("fake"))
	a := attach(t, p, host.Hello{CoreEpoch: 1}, newCollector(t))
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, a.Done(), "end of the attachment")
	if !errors.Is(a.Err(), wire.ErrExited) {
		t.Errorf("%v", a.Err())
	}
	if _, err := p.Attach(t.Context(), host.Hello{CoreEpoch: 2}, newCollector(t)); !errors.Is(err, wire.ErrExited) {
		t.Errorf("attach to a dead process: %v", err)
	}
}

func TestStopDuringAttachment(t *testing.T) {
	p := launch(t, command("saturate"))
	c := newCollector(t)
	a := attach(t, p, host.Hello{CoreEpoch: 1, Frames: 100}, c)
	waitFor(t, c.sequences, "frame")
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, a.Done(), "end of the attachment")
	if !errors.Is(a.Err(), wire.ErrExited) {
		t.Errorf("%v", a.Err())
	}
}

// services is a store in memory.
type services struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (s *services) StoreGet(_ context.Context, link, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key == "forbidden" {
		return nil, driver.Errorf(driver.Denied, "not for you")
	}
	return s.kept[link+"/"+key], nil
}

func (s *services) StorePut(_ context.Context, link, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[link+"/"+key] = value
	return nil
}

func (s *services) Secret(_ context.Context, link, name string) ([]byte, error) {
	if link != "line1" {
		return nil, driver.Errorf(driver.Denied, "secret %q: link %s does not name it", name, link)
	}
	return []byte("geheim"), nil
}

func (s *services) Gateway(context.Context) (string, time.Time, error) {
	return "plant-7", time.Now(), nil
}

func TestServices(t *testing.T) {
	served := &services{kept: map[string][]byte{}}
	c := command("fake")
	c.Services = served
	p := launch(t, c)
	var calls sync.WaitGroup
	for _, link := range []string{"line1", "line2", "line3", "line4"} {
		calls.Go(func() {
			samples, err := p.Read(t.Context(), "store", link, []string{"a", "b", "c"})
			if err != nil || len(samples) != 3 || string(samples[2].Value.Bytes()) != "kept c" {
				t.Errorf("%s: %v %v", link, samples, err)
			}
		})
	}
	calls.Wait()
	served.mu.Lock()
	if len(served.kept) != 12 || string(served.kept["line3/b"]) != "kept b" {
		t.Errorf("kept %q", served.kept)
	}
	served.mu.Unlock()
	_, err := p.Read(t.Context(), "store", "line1", []string{"forbidden"})
	if driver.CodeOf(err) != driver.Denied || err.Error() != "not for you" {
		t.Errorf("refused question: %v", err)
	}
	if _, err = p.Read(t.Context(), "store", "line1", []string{""}); driver.CodeOf(err) != driver.BadValue {
		t.Errorf("empty key: %v", err)
	}
}

func TestNoServices(t *testing.T) {
	p := launch(t, command("fake"))
	if _, err := p.Read(t.Context(), "store", "line1", []string{"a"}); driver.CodeOf(err) != driver.Unsupported {
		t.Errorf("%v", err)
	}
}

package drivertest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

func (k *kit) read(t *testing.T) {
	_, r := k.reading(t)
	all := k.readAll(t, r, k.Device.Points)
	reversed := slices.Clone(k.Device.Points)
	slices.Reverse(reversed)
	for i, s := range k.readAll(t, r, reversed) {
		if want := all[len(all)-1-i]; s.Value.Kind() != want.Value.Kind() {
			t.Errorf("point %s is a %v in one order and a %v in the other", reversed[i].Name, want.Value.Kind(), s.Value.Kind())
		}
	}
	k.readAll(t, r, k.Device.Points[:1])
}

func (k *kit) prepared(t *testing.T) {
	d := k.device(t, k.open(t, k.Link), k.Device)
	p, ok := d.(driver.Preparer)
	if !ok {
		t.Fatal("the device is no Preparer")
	}
	r, err := p.Prepare(k.Device.Points)
	if err != nil {
		t.Fatalf("prepare: %v", err)
	}
	first := k.readAll(t, r, k.Device.Points)
	again := k.readAll(t, r, k.Device.Points)
	for i := range first {
		if first[i].Value.Kind() != again[i].Value.Kind() {
			t.Errorf("point %s is a %v and then a %v", k.Device.Points[i].Name, first[i].Value.Kind(), again[i].Value.Kind())
		}
	}
}

func (k *kit) missing(t *testing.T) {
	cfg := k.Device
	cfg.Points = slices.Clone(cfg.Points)
	gone := k.Missing
	gone.Index = len(cfg.Points)
	cfg.Points = append(cfg.Points, gone)
	d := k.device(t, k.open(t, k.Link), cfg)
	r, ok := d.(driver.Reader)
	if !ok {
		t.Fatal("the device is no Reader: declare the ability missing as lacking")
	}
	out := make([]driver.Sample, len(cfg.Points))
	if err := r.Read(k.bounded(t, k.Link.Timeout), cfg.Points, out); err != nil {
		t.Fatalf("read: %v: one bad point fails the rest", err)
	}
	for i, s := range out[:gone.Index] {
		if s.Quality != driver.Good {
			t.Errorf("point %s is %v: %v", cfg.Points[i].Name, s.Quality, s.Fault)
		}
	}
	if s := out[gone.Index]; s.Quality != driver.Bad || s.Fault == nil {
		t.Errorf("the missing point is %v %v with fault %v", s.Quality, s.Value, s.Fault)
	}
}

func (k *kit) write(t *testing.T) {
	d, w := k.writer(t)
	for _, c := range k.Writes {
		p := k.point(t, c.Point)
		within(t, 8*k.Link.Timeout+patience, "Write", func() {
			if err := w.Write(k.bounded(t, k.Link.Timeout), p, c.Value); err != nil {
				t.Errorf("write %v to %s: %v", c.Value, c.Point, err)
			}
		})
		if r, ok := d.(driver.Reader); ok {
			if got := k.readAll(t, r, []driver.Point{p})[0].Value; !same(got, c.Value) {
				t.Errorf("%s: written %v, read %v", c.Point, c.Value, got)
			}
		}
	}
}

// same compares numbers by their value, whatever kind they have.
func same(a, b driver.Value) bool {
	x, isNumber := a.AsFloat64()
	y, isNumberToo := b.AsFloat64()
	return a.Equal(b) || isNumber && isNumberToo && x == y
}

func (k *kit) badWrite(t *testing.T) {
	_, w := k.writer(t)
	err := w.Write(k.bounded(t, k.Link.Timeout), k.point(t, k.BadWrite.Point), k.BadWrite.Value)
	if driver.CodeOf(err) != driver.BadValue {
		t.Errorf("write %v to %s: %v, want %v", k.BadWrite.Value, k.BadWrite.Point, err, driver.BadValue)
	}
}

func (k *kit) subscribe(t *testing.T) {
	d := k.device(t, k.open(t, k.Link), k.Device)
	s, ok := d.(driver.Subscriber)
	if !ok {
		t.Fatal("the device is no Subscriber")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var over atomic.Bool
	arrived := make(chan driver.PointSample, 1)
	emit := func(ctx context.Context, samples []driver.PointSample, stored func()) error {
		if over.Load() {
			t.Error("an emit after Subscribe has returned")
		}
		for _, sample := range samples {
			if sample.Point < 0 || sample.Point >= len(k.Device.Points) {
				t.Errorf("a sample of the point %d, which is not there", sample.Point)
			}
			select {
			case arrived <- sample:
			default:
			}
		}
		if stored != nil {
			go stored()
		}
		return ctx.Err()
	}
	ended := make(chan error, 1)
	go func() {
		err := s.Subscribe(ctx, k.Device.Points, emit)
		over.Store(true)
		ended <- err
	}()
	k.pushUntil(t, arrived, ended)
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("subscribe ended with %v, want %v", err, context.Canceled)
		}
	case <-time.After(patience):
		t.Fatalf("subscribe did not end within %v after its context", patience)
	}
}

func (k *kit) pushUntil(t *testing.T, arrived <-chan driver.PointSample, ended <-chan error) {
	t.Helper()
	limit := time.After(2 * patience)
	for {
		k.Push(t)
		select {
		case s := <-arrived:
			if s.Quality == driver.Bad && s.Fault == nil {
				t.Errorf("a Bad sample without a fault: %+v", s)
			}
			return
		case err := <-ended:
			t.Fatalf("subscribe ended by itself: %v", err)
		case <-limit:
			t.Fatalf("no sample within %v", 2*patience)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (k *kit) browse(t *testing.T) {
	d := k.device(t, k.open(t, k.Link), k.Device)
	b, ok := d.(driver.Browser)
	if !ok {
		t.Fatal("the device is no Browser")
	}
	entries, err := b.Browse(k.bounded(t, k.Link.Timeout), k.BrowsedBelow, 10_000)
	if err != nil || !slices.ContainsFunc(entries, func(e driver.Entry) bool { return e.Address == k.Browsed }) {
		t.Errorf("browse: %v does not list %q: %v", entries, k.Browsed, err)
	}
	if one, err := b.Browse(k.bounded(t, k.Link.Timeout), k.BrowsedBelow, 1); err != nil || len(one) > 1 {
		t.Errorf("browse of at most 1: %v, %v", one, err)
	}
}

func (k *kit) discover(t *testing.T) {
	d, ok := k.open(t, k.Link).(driver.Discoverer)
	if !ok {
		t.Fatal("the link is no Discoverer")
	}
	ask := func(c driver.Candidate) (*driver.Entry, int, error) {
		c.Patience = k.Link.Timeout
		return d.Discover(k.bounded(t, k.Link.Timeout), c)
	}
	none, of, err := ask(driver.Candidate{Within: k.FoundWithin, Number: driver.MaxCandidates})
	if err != nil || none != nil || of < 2 || of > driver.MaxCandidates {
		t.Fatalf("discover behind the last of %d candidates: %v, %v; want at least 2, at most %d, and nobody", of, none, err, driver.MaxCandidates)
	}
	found, again, err := ask(driver.Candidate{Within: k.FoundWithin, Number: of - 1})
	if err != nil || again != of || found == nil || found.Address != k.Found {
		t.Errorf("discover the last of %d candidates: %+v of %d, %v; want %q", of, found, again, err, k.Found)
	}
	if _, _, err := ask(driver.Candidate{Within: k.FoundWithin, Number: of - 1, Identify: true}); err != nil {
		t.Errorf("identify it: %v", err)
	}
	if _, of, err := ask(driver.Candidate{Number: driver.MaxCandidates}); err != nil || of < 1 || of > driver.MaxCandidates {
		t.Errorf("discover anywhere: %d candidates, %v", of, err)
	}
	if _, _, err := ask(driver.Candidate{Within: "\x00 no such place"}); driver.CodeOf(err) != driver.BadValue {
		t.Errorf("discover within what is no place: %v, want %v", err, driver.BadValue)
	}
}

func (k *kit) pipeline(t *testing.T) {
	l := k.open(t, k.Link)
	p, ok := l.(driver.Pipeliner)
	if !ok {
		t.Fatal("the link is no Pipeliner")
	}
	window := p.Window()
	if window < 1 {
		t.Fatalf("a window of %d", window)
	}
	d := k.device(t, l, k.Device)
	r, ok := d.(driver.Reader)
	if !ok {
		t.Fatal("the device is no Reader")
	}
	var running sync.WaitGroup
	for range min(window, 16) {
		running.Go(func() {
			for range 10 {
				out := make([]driver.Sample, len(k.Device.Points))
				if err := r.Read(k.bounded(t, k.Link.Timeout), k.Device.Points, out); err != nil || out[0].Quality != driver.Good {
					t.Errorf("read beside others: %v, first sample %+v", err, out[0])
					return
				}
			}
		})
	}
	running.Wait()
}

func (k *kit) silent(t *testing.T) {
	_, r := k.silentReader(t)
	const limit = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	within(t, limit+patience, "Read of a silent device", func() {
		err := r.Read(ctx, k.Silent.Points, make([]driver.Sample, len(k.Silent.Points)))
		if code := driver.CodeOf(err); code != driver.Timeout {
			t.Errorf("read of a silent device: %v, want %v", err, driver.Timeout)
		}
	})
}

func (k *kit) closeInFlight(t *testing.T) {
	l, r := k.silentReader(t)
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		close(begun)
		ended <- r.Read(k.bounded(t, k.SilentLink.Timeout), k.Silent.Points, make([]driver.Sample, len(k.Silent.Points)))
	}()
	<-begun
	<-time.After(50 * time.Millisecond) // so that the call is most likely inside
	k.close(t, l)
	select {
	case err := <-ended:
		if code := driver.CodeOf(err); code != driver.NotConnected {
			t.Errorf("a read while the link was closed: %v, want %v", err, driver.NotConnected)
		}
	case <-time.After(patience):
		t.Fatal("a read goes on although its link is closed")
	}
}

// keep hands what a link keeps to the next, and then things that no link of this
// version has kept: an error is right, a panic is not.
func (k *kit) keep(t *testing.T) {
	l := k.open(t, k.Link)
	k.device(t, l, k.Device)
	kept, err := l.(driver.Keeper).Keep(k.bounded(t, k.Link.Timeout))
	if err != nil || len(kept) > driver.MaxKept {
		t.Fatalf("keep: %d bytes, %v", len(kept), err)
	}
	k.close(t, l)
	cfg := k.Link
	cfg.Kept = slices.Clone(kept)
	next := k.open(t, cfg)
	k.device(t, next, k.Device)
	k.close(t, next)
	flipped := slices.Clone(kept)
	for i := range flipped {
		flipped[i] ^= 0xff
	}
	for _, wrong := range [][]byte{{0}, flipped, kept[:len(kept)/2], append(slices.Clone(kept), kept...)} {
		cfg.Kept = wrong
		l, err := k.Driver.Open(k.bounded(t, cfg.Timeout), cfg, k.env())
		if err != nil {
			continue
		}
		k.device(t, l, k.Device)
		k.close(t, l)
	}
}

package live_test

import (
	"sync"
	"testing"

	"github.com/fieldloom/fieldloom/core/internal/live"
)

func TestEverySubscriptionGetsEveryFrameInOrder(t *testing.T) {
	var hub live.Hub
	a, b := hub.Subscribe(10), hub.Subscribe(10)
	defer a.Close()
	defer b.Close()
	for seq := range uint64(10) {
		hub.Publish(live.Frame{Sequence: seq})
	}
	for _, s := range []*live.Subscription{a, b} {
		for want := range uint64(10) {
			if got := (<-s.Frames()).Sequence; got != want {
				t.Fatalf("got sequence %d, want %d", got, want)
			}
		}
		if n := s.TakeDropped(); n != 0 {
			t.Fatalf("dropped %d, want 0", n)
		}
	}
}

func TestFullQueueDropsAndCounts(t *testing.T) {
	var hub live.Hub
	slow, quick := hub.Subscribe(2), hub.Subscribe(8)
	defer slow.Close()
	defer quick.Close()
	for seq := range uint64(5) {
		hub.Publish(live.Frame{Sequence: seq})
	}
	if n := slow.TakeDropped(); n != 3 {
		t.Errorf("slow dropped %d, want 3", n)
	}
	if n := slow.TakeDropped(); n != 0 {
		t.Errorf("dropped frames counted twice: %d", n)
	}
	if n := len(quick.Frames()); n != 5 {
		t.Errorf("quick has %d frames, want 5: a slow watcher cost another", n)
	}
	if got := (<-slow.Frames()).Sequence; got != 0 {
		t.Errorf("first of slow is %d, want the oldest", got)
	}
}

func TestCloseEndsDelivery(t *testing.T) {
	var hub live.Hub
	s := hub.Subscribe(4)
	if hub.Watchers() != 1 {
		t.Fatalf("watchers = %d, want 1", hub.Watchers())
	}
	s.Close()
	s.Close()
	hub.Publish(live.Frame{})
	if len(s.Frames()) != 0 || hub.Watchers() != 0 {
		t.Fatalf("frames %d, watchers %d after Close, want none", len(s.Frames()), hub.Watchers())
	}
}

func TestSubscribeWhilePublishing(t *testing.T) {
	var hub live.Hub
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for seq := range uint64(200) {
				hub.Publish(live.Frame{Sequence: seq})
			}
		})
		wg.Go(func() {
			for range 50 {
				s := hub.Subscribe(1)
				s.Close()
			}
		})
	}
	wg.Wait()
	if hub.Watchers() != 0 {
		t.Fatalf("watchers = %d, want 0", hub.Watchers())
	}
}

func TestPublishUnwatchedDoesNotAllocate(t *testing.T) {
	var hub live.Hub
	if n := testing.AllocsPerRun(100, func() { hub.Publish(live.Frame{}) }); n != 0 {
		t.Fatalf("%v allocations a frame nobody watches, want 0", n)
	}
}

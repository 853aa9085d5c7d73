// Package live fans stored frames out to whoever watches.
//
// A Hub is where frames arrive, in the order in which they were stored. A
// Subscription is one watcher's bounded queue. A frame is handed on as the bytes
// that were stored: a watcher decodes them itself, so that nothing is decoded
// when nobody watches.
package live

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Frame is one stored frame of a driver process. Its Data is shared by all
// watchers and is never changed.
type Frame struct {
	Driver   string // empty: the gateway's own gap records
	Epoch    uint64
	Sequence uint64
	Stored   time.Time
	Data     []byte
}

// A Hub hands every published frame to every subscription. The zero Hub is ready
// for use; its methods may be called concurrently.
type Hub struct {
	watched atomic.Int32
	mu      sync.Mutex
	subs    map[*Subscription]struct{}
}

// Publish hands f to every subscription and never blocks: a subscription whose
// queue is full counts the frame as dropped. Without subscriptions it costs one
// atomic load.
func (h *Hub) Publish(f Frame) {
	if h.watched.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		select {
		case s.queue <- f:
		default:
			s.dropped.Add(1)
		}
	}
}

// Watchers is the number of open subscriptions.
func (h *Hub) Watchers() int { return int(h.watched.Load()) }

// Subscribe opens a subscription whose queue holds depth frames. Every frame
// published after the return is in its queue or in its drop counter.
func (h *Hub) Subscribe(depth int) *Subscription {
	s := &Subscription{hub: h, queue: make(chan Frame, max(depth, 1))}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = make(map[*Subscription]struct{})
	}
	h.subs[s] = struct{}{}
	h.watched.Add(1)
	return s
}

// A Subscription is one watcher's queue.
type Subscription struct {
	hub     *Hub
	queue   chan Frame
	dropped atomic.Uint64
}

// Frames is the queue. It is never closed: select on a context too.
func (s *Subscription) Frames() <-chan Frame { return s.queue }

// TakeDropped returns the number of frames that did not fit since the last call.
func (s *Subscription) TakeDropped() uint64 { return s.dropped.Swap(0) }

// Close ends the subscription; no frame is queued after it. It is safe twice.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if _, open := s.hub.subs[s]; open {
		delete(s.hub.subs, s)
		s.hub.watched.Add(-1)
	}
}

package engine

import (
	"cmp"
	"slices"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
)

// unsure is a dropped frame that had been handed out: it may have been stored.
type unsure struct {
	seq     uint64
	samples uint64
	told    bool // a gap that counts it was handed out
}

// makeRoom drops frames, oldest first, until size fits; it tells whether it does.
// Frames that the present consumer was not given yet go first: the others are on
// their way to the core and are most likely stored soon. Called under mu.
func (r *Ring) makeRoom(size int) bool {
	fits := func() bool { return r.bytes.Load()+int64(size) <= int64(r.max) }
	for n := r.read; n != nil && !fits(); {
		next := n.next
		if n.droppable && !n.moving {
			r.drop(n)
		}
		n = next
	}
	for n := r.head; n != nil && n != r.read && !fits(); {
		next := n.next
		if n.droppable && !n.moving {
			r.drop(n)
		}
		n = next
	}
	return fits()
}

// drop puts a gap in n's place, or lets the gap before it grow over it. A frame
// that was handed out is dropped in place too: the consumer that has it needs no
// gap, and acknowledges it or goes; the next consumer, which starts from the oldest
// frame not stored, meets the gap.
func (r *Ring) drop(n *node) {
	r.dropped += uint64(n.samples)
	for _, c := range n.receipts {
		c.lost.Store(true)
	}
	if n.seq <= r.sent && len(r.unsure) < maxUnsure {
		r.unsure = append(r.unsure, unsure{seq: n.seq, samples: uint64(n.samples)})
	}
	if p := n.prev; p != nil && p.grows() && (p.seq > r.handed || n.seq <= r.handed) {
		p.gap.Samples += uint64(n.samples)
		p.gap.LastSeq = n.seq
		p.gap.Widen(n.from, n.to)
		p.seq = n.seq
		r.unlink(n)
		return
	}
	r.bytes.Add(int64(nodeBytes - n.size))
	g := &frame.Gap{Samples: uint64(n.samples), FirstSeq: n.seq, LastSeq: n.seq, Cause: r.cause()}
	g.Widen(n.from, n.to)
	n.gap, n.data, n.batch, n.receipts = g, nil, nil, nil
	n.size, n.samples, n.droppable = nodeBytes, 0, false
}

// grows tells whether n is a gap that a dropped frame after it can join. A gap
// that was told stays as it was told.
func (n *node) grows() bool {
	return n.gap != nil && n.gap.FirstSeq != 0 && !n.told && !n.moving
}

// settleUnsure takes back from the gaps not yet told what turns out to be stored.
func (r *Ring) settleUnsure(sequence uint64) {
	keep := r.unsure[:0]
	for _, u := range r.unsure {
		if u.seq > sequence {
			keep = append(keep, u)
			continue
		}
		switch g := r.gapOver(u.seq); {
		case u.told:
		case g == nil || g.told: // on disk, or on its way there: it is passed over, see splitUnsure
			r.dropped -= u.samples
		default:
			g.gap.Samples -= u.samples
			g.gap.FirstSeq = u.seq + 1
			r.dropped -= u.samples
			if g.gap.Samples == 0 {
				r.unlink(g)
			}
		}
	}
	r.unsure = keep
}

// gapOver finds the gap that counts the frame seq.
func (r *Ring) gapOver(seq uint64) *node {
	for n := r.head; n != nil; n = n.next {
		if n.gap != nil && n.gap.FirstSeq != 0 && n.gap.FirstSeq <= seq && seq <= n.gap.LastSeq {
			return n
		}
	}
	return nil
}

// tell notes that a gap was handed out that counts the frames first to last.
func (r *Ring) tell(first, last uint64) {
	for i := range r.unsure {
		if u := &r.unsure[i]; first <= u.seq && u.seq <= last {
			u.told = true
		}
	}
}

// splitUnsure makes gaps of their own of the frames in n that had been handed out, before n
// goes to the disk, where it cannot be changed any more: the gap of a frame that turns out
// to be stored has that frame's sequence, and is passed over. It returns the first of them,
// or n.
func (r *Ring) splitUnsure(n *node) (first *node) {
	first = n
	if n.told || n.gap.FirstSeq == 0 {
		return first
	}
	var within []unsure
	for _, u := range r.unsure {
		if n.gap.FirstSeq <= u.seq && u.seq < n.gap.LastSeq {
			within = append(within, u)
		}
	}
	slices.SortFunc(within, func(a, b unsure) int { return cmp.Compare(a.seq, b.seq) })
	for _, u := range within {
		if u.seq != n.gap.FirstSeq || u.samples > n.gap.Samples {
			break
		}
		g := *n.gap
		g.Samples, g.LastSeq = u.samples, u.seq
		own := &node{prev: n.prev, next: n, seq: u.seq, size: nodeBytes, gap: &g}
		if n.prev != nil {
			n.prev.next = own
		} else {
			r.head = own
		}
		n.prev = own
		if first == n {
			first = own
		}
		n.gap.Samples -= u.samples
		n.gap.FirstSeq = u.seq + 1
		r.bytes.Add(nodeBytes)
	}
	if r.read == n {
		r.read = first
	}
	return first
}

// lost counts samples that never came into a frame.
func (r *Ring) lost(samples uint64, from, to int64) {
	r.order.Lock()
	defer r.order.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples += samples
	r.lose(samples, from, to)
}

func (r *Ring) lose(samples uint64, from, to int64) {
	r.dropped += samples
	t := r.tail
	if t != nil && t.gap != nil && t.gap.FirstSeq == 0 && t.gap.Links == nil && !t.told {
		t.gap.Samples += samples
		t.gap.Widen(from, to)
		return
	}
	g := &frame.Gap{Samples: samples, Cause: r.cause()}
	g.Widen(from, to)
	r.append(&node{size: nodeBytes, gap: g})
	r.wakeReader()
}

// owesGap tells whether samples were lost of which the gap was not handed out yet.
func (r *Ring) owesGap() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dropped == 0 {
		return false
	}
	for n := r.head; n != nil; n = n.next {
		if n.gap != nil && n.seq > r.sent {
			return true
		}
	}
	return false
}

func (r *Ring) cause() *driver.Error {
	return driver.Errorf(driver.Lost, "the replay ring of %d bytes was full: the core did not take samples as fast as they came", r.max)
}

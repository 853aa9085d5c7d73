package simulator

import (
	"container/heap"
	"context"
	"time"
)

// beat is how often a roster looks for what is due. It is the most that a message is late, and
// keeps a thousand devices from waking the process a thousand times a second.
const beat = 10 * time.Millisecond

// duty is something that a device does again and again.
type duty struct {
	device *Device
	text   *template
	topic  string
	qos    byte
	retain bool
	every  time.Duration
	due    time.Time     // on the grid of its period
	late   time.Duration // how much later than due it is done, while the device is slow
}

func (d *duty) at() time.Time { return d.due.Add(d.late) }

// roster holds duties by the time at which they are due next.
type roster []*duty

func (r roster) Len() int           { return len(r) }
func (r roster) Less(i, j int) bool { return r[i].at().Before(r[j].at()) }
func (r roster) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }

// Push implements heap.Interface.
func (r *roster) Push(x any) { *r = append(*r, x.(*duty)) }

// Pop implements heap.Interface.
func (r *roster) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}

// run lets act do each duty when it is due, until ctx ends. Duties start spread over their
// first period. A duty that is due again before it could be done is left out and counted as
// missed, so that a hold-up is no burst afterwards.
func (r *roster) run(ctx context.Context, act func(d *duty)) {
	start := time.Now()
	for i, d := range *r {
		d.due = start.Add(d.every * time.Duration(i) / time.Duration(len(*r)))
	}
	heap.Init(r)
	for len(*r) > 0 && pause(ctx, max(time.Until((*r)[0].at()), beat)) {
		for now := time.Now(); ctx.Err() == nil && !(*r)[0].at().After(now); {
			d := (*r)[0]
			if f := d.device.current(); f != nil && f.Kind == Slow && d.late == 0 {
				d.late = f.Delay
			} else {
				act(d)
				d.next(now)
			}
			heap.Fix(r, 0)
		}
	}
}

// next moves a duty to the first point of its grid that lies ahead.
func (d *duty) next(now time.Time) {
	d.late = 0
	missed := max(int64(now.Sub(d.due)/d.every), 0)
	d.due = d.due.Add(d.every * time.Duration(missed+1))
	if missed > 0 {
		d.device.mu.Lock()
		d.device.tally.missed += uint64(missed)
		d.device.mu.Unlock()
	}
}

// pause waits, and returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

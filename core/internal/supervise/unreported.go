package supervise

import (
	"maps"
	"sync"

	"github.com/fieldloom/fieldloom/core/control"
)

const (
	// maxPushing and maxPushingName bound what is kept of devices that send by
	// themselves. Of others a gap counts the polls that were due, which is too many.
	maxPushing     = 1 << 14
	maxPushingName = 256
)

// unreported is what the records of losses that one process is to tell of are made from: the
// losses that end with its next frame, and its devices that send by themselves. Its own lock
// guards it.
type unreported struct {
	mu     sync.Mutex
	losses []*loss
	pushes map[place]struct{}
}

// add gives the process what was lost before it had its links.
func (u *unreported) add(losses []*loss) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.losses = append(u.losses, losses...)
}

// take returns what is to be told now, and forgets it, with the devices that send by
// themselves.
func (u *unreported) take() (lost []*loss, pushes map[place]struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	lost, u.losses = u.losses, nil
	if len(lost) > 0 {
		pushes = maps.Clone(u.pushes)
	}
	return lost, pushes
}

// moveTo makes what is not told yet a part of the loss of the process itself.
func (u *unreported) moveTo(lost *loss) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, earlier := range u.losses {
		if earlier.from.Before(lost.from) {
			lost.from = earlier.from
		}
		lost.pushes = joined(lost.pushes, earlier.pushes)
	}
	lost.pushes = joined(lost.pushes, u.pushes)
	u.losses = nil
}

// notePushes notes whether a device sends by itself.
func (u *unreported) notePushes(e control.Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := place{e.Link, e.Device}
	switch {
	case !e.Pushes:
		delete(u.pushes, at)
	case len(u.pushes) < maxPushing && len(e.Link)+len(e.Device) <= maxPushingName:
		if u.pushes == nil {
			u.pushes = make(map[place]struct{})
		}
		u.pushes[at] = struct{}{}
	}
}

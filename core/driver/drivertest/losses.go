package drivertest

import (
	"slices"
	"sync"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Losses is a driver.Losses for the Env of a test: it keeps what a driver says that it has
// lost. What a device sent is what the driver emitted and this. The zero value is ready;
// its methods may be called concurrently.
type Losses struct {
	mu  sync.Mutex
	all []driver.Loss
}

var _ driver.Losses = (*Losses)(nil)

// Lost keeps a loss.
func (l *Losses) Lost(loss driver.Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, loss)
}

// All returns the losses so far, in their order.
func (l *Losses) All() []driver.Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// Samples adds up the samples of a device.
func (l *Losses) Samples(device string) (n uint64) {
	for _, loss := range l.All() {
		if loss.Device == device {
			n += loss.Samples
		}
	}
	return n
}

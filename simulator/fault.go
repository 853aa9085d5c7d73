package simulator

import (
	"fmt"
	"slices"
	"time"
)

// FaultKind is what a device or a server does wrong.
type FaultKind string

// The faults. A poll that meets one of them, Slow and Drip excepted, is no poll served: the
// slot does not grow.
const (
	Silent      FaultKind = "silent"      // takes everything and answers nothing, a black hole
	Slow        FaultKind = "slow"        // answers after Delay, default 1 s
	Drip        FaultKind = "drip"        // answers a byte at a time, Delay apart, default 1 s
	Garbage     FaultKind = "garbage"     // answers bytes that mean nothing
	Cut         FaultKind = "cut"         // answers half, then closes the connection
	Half        FaultKind = "half"        // answers half and leaves the connection open
	Refused     FaultKind = "refused"     // closes the connections and refuses new ones; a serial line hangs up. Servers only.
	Exception   FaultKind = "exception"   // answers the Modbus exception Code, default 4
	Unit        FaultKind = "unit"        // answers with another unit id
	Transaction FaultKind = "transaction" // answers with another transaction id
)

// Fault is a fault with its numbers.
type Fault struct {
	Kind  FaultKind
	Delay time.Duration
	Code  byte
}

// check returns an error where a device, or a whole server, of a protocol cannot have the
// fault, and fills in what was left out.
func (f *Fault) check(p Protocol, server bool) error {
	able := map[Protocol][]FaultKind{
		Modbus: {Silent, Slow, Drip, Garbage, Cut, Half, Exception, Unit, Transaction},
		MQTT:   {Silent, Slow, Garbage, Cut},
		Serial: {Silent, Slow, Drip, Garbage, Cut},
	}[p]
	if server {
		able = append(slices.Clone(able), Refused)
	}
	if !slices.Contains(able, f.Kind) {
		what := "device"
		if server {
			what = "server"
		}
		return fmt.Errorf("a %s %s has no fault %q: it has %v", p, what, f.Kind, able)
	}
	if f.Delay < 0 {
		return fmt.Errorf("fault %s: delay %v is negative", f.Kind, f.Delay)
	}
	if f.Delay == 0 {
		f.Delay = time.Second
	}
	if f.Code == 0 {
		f.Code = 4
	}
	return nil
}

// spoils reports whether an answer under the fault is none that a client may believe.
func (f *Fault) spoils() bool {
	return f != nil && f.Kind != Slow && f.Kind != Drip
}

// noise fills b with bytes that mean nothing, the same for the same seed.
func noise(b []byte, seed uint64) {
	for i := range b {
		seed = seed*6364136223846793005 + 1442695040888963407
		b[i] = byte(seed >> 56)
	}
}

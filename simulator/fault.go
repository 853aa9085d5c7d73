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

	Late          FaultKind = "late"           // answers after Delay, longer than anybody waits: the answer meets the next request
	NoTransaction FaultKind = "no-transaction" // answers with the transaction id 0
	Length        FaultKind = "length"         // says a length that is one too large
	Extra         FaultKind = "extra"          // a byte follows the answer
	Checksum      FaultKind = "checksum"       // a wrong CRC or LRC; on a serial line a changed byte
	Prefix        FaultKind = "prefix"         // noise before the answer
	Duplicate     FaultKind = "duplicate"      // answers twice
	Echo          FaultKind = "echo"           // the request comes back before the answer
	NoisyEcho     FaultKind = "noisy-echo"     // and is damaged
	Busy          FaultKind = "busy"           // answers exception 6
	Most          FaultKind = "most"           // refuses more than Most registers with exception Code, default 2
	Frozen        FaultKind = "frozen"         // values stand still, and no poll is served
	Jump          FaultKind = "jump"           // the device's clock is ahead by Delay
	Deaf          FaultKind = "deaf"           // swallows what comes in the first Delay of a connection
	Hasty         FaultKind = "hasty"          // loses a request that comes within Delay of the last answer
	Reset         FaultKind = "reset"          // resets the connection when it is asked
	Once          FaultKind = "once"           // closes the connection after an answer
	Idle          FaultKind = "idle"           // closes a connection that is quiet for Delay. Servers only.
	Single        FaultKind = "single"         // takes one connection at a time. Servers only.
	Unplugged     FaultKind = "unplugged"      // the tty goes, and is there again afterwards. Servers only.
)

// Fault is a fault with its numbers.
type Fault struct {
	Kind  FaultKind     `json:"kind"`
	Delay time.Duration `json:"delay,omitempty"`
	Code  byte          `json:"code,omitempty"`
	Range string        `json:"range,omitempty"` // of a Modbus device: only requests that touch these addresses, as `holding:0-99`
	Most  int           `json:"most,omitempty"`
	Every int           `json:"every,omitempty"` // only every so many requests; 0: each

	Function byte `json:"function,omitempty"` // of a Modbus device: only requests of this function; 0: of all
}

// able are the faults of a device by protocol, and of a whole server besides.
var able = map[Protocol]struct{ device, server []FaultKind }{
	Modbus: {
		[]FaultKind{Silent, Slow, Late, Drip, Garbage, Prefix, Cut, Half, Exception, Busy, Most, Unit, Transaction, NoTransaction,
			Length, Extra, Checksum, Duplicate, Echo, NoisyEcho, Frozen, Jump, Deaf, Hasty, Reset, Once},
		[]FaultKind{Refused, Unplugged, Idle, Single},
	},
	MQTT:   {[]FaultKind{Silent, Slow, Garbage, Cut}, []FaultKind{Refused}},
	Serial: {[]FaultKind{Silent, Slow, Late, Drip, Garbage, Prefix, Cut, Checksum, Duplicate, Echo}, []FaultKind{Refused, Unplugged}},
}

// Faults lists the faults that a device of a protocol can have, or a whole server.
func Faults(p Protocol, server bool) []FaultKind {
	of, own := able[p]
	if !own { // of an author, or played back: what a TCP port can
		of.server = []FaultKind{Refused}
	}
	list := slices.Clone(of.device)
	if server {
		list = append(list, of.server...)
	}
	return list
}

// from is the range of addresses, which has been checked.
func (f *Fault) from() (table string, first, last int) {
	t, at, err := parseAddresses(f.Range)
	if err != nil {
		return "", 0, -1
	}
	return t.String(), int(at.First), int(at.Last)
}

// check returns an error where a device, or a whole server, of a protocol cannot have the
// fault, and fills in what was left out.
func (f *Fault) check(p Protocol, server bool) error {
	able := Faults(p, server)
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
		if f.Code = 4; f.Kind == Most {
			f.Code = 2
		}
	}
	if f.Most == 0 {
		f.Most = 50
	}
	if f.Range != "" {
		if _, _, err := parseAddresses(f.Range); p != Modbus || err != nil {
			return fmt.Errorf("fault %s: range %q is none of a Modbus device, such as holding:0-99", f.Kind, f.Range)
		}
	}
	return nil
}

// spoils reports whether an answer under the fault is none that a client may believe.
func (f *Fault) spoils() bool {
	if f == nil {
		return false
	}
	switch f.Kind {
	case Slow, Late, Drip, Jump, Deaf, Hasty, Once, Idle, Single, Echo, Duplicate:
		return false
	}
	return true
}

// noise fills b with bytes that mean nothing, the same for the same seed.
func noise(b []byte, seed uint64) {
	for i := range b {
		seed = seed*6364136223846793005 + 1442695040888963407
		b[i] = byte(seed >> 56)
	}
}

// Package driver is the contract between Fieldloom and the author of a protocol driver. It
// imports nothing but the standard library.
//
// The nouns, from the wire up:
//
//   - A Driver implements one protocol. It is stateless: it opens links.
//   - A Link is one shared wire: a TCP connection, a serial port, a broker
//     session. It is the unit of serialisation.
//   - A Device is one configured endpoint on a link.
//   - A Point is a named datum of a device; its address is in the driver's
//     own syntax.
//   - A Sample is a point's value with a quality, a time and perhaps a fault.
//
// The engine (package engine) runs around a driver in the driver's own process. It owns
// everything that time has a part in: scan classes, deadlines, retries, reconnecting,
// back-pressure. A driver therefore has no Start, no retry, no sleep, no reconnect, and no
// goroutine that its Close does not wait for. It does what it is asked, once, and reports what
// happened; the Code of its error tells the engine what to do next.
//
// A device implements Reader, Subscriber or both. Everything else is optional:
// the engine looks once whether a value implements Preparer, Writer, Pipeliner
// and so on, and announces what it found.
package driver

import (
	"context"
	"encoding/json"
	"time"
)

// A Driver implements one protocol. Its methods may be called concurrently.
type Driver interface {
	// Info describes the driver. It does no I/O and always answers the same.
	Info() Info

	// Open opens one link: it dials, opens the port, starts the session. ctx bounds the opening
	// only, not the life of the link. After an error the engine calls Open again with backoff,
	// unless the code is InvalidConfig.
	Open(ctx context.Context, cfg LinkConfig, env Env) (Link, error)
}

// A Link is one open wire. The engine makes at most one call at a time on a link
// and its devices, Close and Subscribe excepted, unless the link is a Pipeliner.
type Link interface {
	// Device prepares one device of the link: it parses every address once and reports all that
	// are wrong together, as ConfigErrors joined by errors.Join. It does no I/O that can wait
	// for a device that is not there. The device is dead when its link is closed.
	Device(ctx context.Context, cfg DeviceConfig) (Device, error)

	// Close releases the wire and waits for the link's goroutines. It is safe to call twice and
	// while another call is in flight, which then fails with NotConnected. A closed link is
	// never used again; the engine opens another.
	Close(ctx context.Context) error
}

// A Device is one endpoint on a link: a Reader, a Subscriber, or both. It may also be a
// Preparer, a Writer and a Browser.
type Device interface{}

// A Reader can be asked for values: a polled device.
type Reader interface {
	// Read asks the device for points and fills out, where out[i] belongs to points[i] and
	// len(out) == len(points). Every out[i] is the zero Sample when Read is called, so what is
	// left untouched is Bad. A point that could not be read has a Fault in its own sample and
	// never fails the others; the error is for the link or the whole device. Samples filled
	// before an error count. A zero Time means now. Neither slice may be kept after the return.
	Read(ctx context.Context, points []Point, out []Sample) error
}

// An AheadReader is a Reader that can have the next request on the wire while it works up the
// last answer: for scan classes whose next poll starts when the last has ended.
type AheadReader interface {
	Reader
	// ReadAhead is Read; but when its last answer has come, and before it works that up, it
	// asks next, at most once. Where next tells true it sends what the next poll sends first:
	// ReadAhead is called again with nothing between on the link, unless the link is closed.
	// Where it tells false, or the poll has failed, nothing may be sent ahead.
	ReadAhead(ctx context.Context, points []Point, out []Sample, next func() bool) error
}

// A Subscriber sends values by itself: a device that pushes.
type Subscriber interface {
	// Subscribe delivers samples of points through emit until ctx is done or the subscription
	// is lost, and returns why it ended (ctx.Err() or a fault of the link). Subscriptions of
	// several devices run at the same time. No emit may be made after the return.
	Subscribe(ctx context.Context, points []Point, emit EmitFunc) error
}

// EmitFunc takes samples from a Subscriber. It blocks while the gateway cannot
// take more, so back-pressure reaches the device; it fails only when ctx is done.
// It copies the slice. It may be called concurrently.
//
// stored, which may be nil, is called once, from another goroutine, when all the
// samples of this call are on the core's disk: the moment to acknowledge them to
// the device. It must not block. It is never called for samples that were lost.
type EmitFunc func(ctx context.Context, samples []PointSample, stored func()) error

// A Preparer compiles a fixed set of points once; the engine does so for every
// scan class and then reads with the result.
type Preparer interface {
	// Prepare returns a Reader for exactly these points, in this order. It does
	// no I/O. It may keep points.
	Prepare(points []Point) (Reader, error)
}

// A Writer takes values.
type Writer interface {
	// Write writes one value and returns when the device has acknowledged it.
	// It fails with BadValue when v does not fit the point and Denied when the
	// device refuses. The engine never repeats a write.
	Write(ctx context.Context, p Point, v Value) error
}

// A Pipeliner is a Link that can have several calls in flight.
type Pipeliner interface {
	// Window is the largest number of concurrent calls the link takes; at least 1.
	Window() int
}

// A Pacer is a Link whose calls may take longer than the time-outs of their requests: it opens
// a connection again within a call, or its line is slow.
type Pacer interface {
	// Allowance is how much longer a call may take at most: once for the call, and once more
	// for each of its requests. The engine adds it, and the link's gap for each request, to the
	// deadline of a call. It is asked once, after Open.
	Allowance() (call, request time.Duration)
}

// A Lazy is a Link that connects within the call that needs it, and again when a connection
// has ended. Its Open proves nothing: it is up when a device has answered.
type Lazy interface {
	// Lazy reports whether it does so. It always answers the same.
	Lazy() bool
}

// A Keeper is a Link that has something to give to the one that takes its place, in
// this process or in the next: what it has learned of its devices, a session's number.
type Keeper interface {
	// Keep is asked before Close when the link is closed in order, with no other call
	// in flight and after every Subscribe has returned. What it answers, at most MaxKept
	// bytes, is LinkConfig.Kept of the next Open of a link of this name with these
	// settings, which may be of another version of the driver: it is to be read with
	// care. It does no I/O that can wait. After an error the next link begins without.
	Keep(ctx context.Context) ([]byte, error)
}

// MaxKept bounds what a Keeper keeps.
const MaxKept = 1 << 20

// A Checker is a Driver that can tell, without any I/O, whether a configuration
// is right. `fieldloom check` asks it, so that a wrong address is an error with
// its line and column before anything connects.
type Checker interface {
	// Check reports everything wrong with the link and its devices together, as
	// ConfigErrors joined by errors.Join, or nil.
	Check(cfg LinkConfig, devices []DeviceConfig) error
}

// A Browser is a Device that can list the addresses it has.
type Browser interface {
	// Browse lists what lies below the address prefix ("" for all), at most limit entries. Below
	// the address of a datum that may be read in several ways, these are the ways, each with
	// what it reads (Entry.Value).
	Browse(ctx context.Context, prefix string, limit int) ([]Entry, error)
}

// An Entry is one address that a Browser found.
type Entry struct {
	Address  string
	Name     string // what the device calls it; may be empty
	Kind     Kind   // of its values; KindNull when not known
	Writable bool
	Value    string // what it reads now, for people; may be empty
	Likely   bool   // of several readings of one address: this may well be what is meant
}

// Info describes a driver.
type Info struct {
	Name    string // the word used as `driver:` in a link's configuration
	Version string // semantic version of the driver, not of the protocol

	// JSON Schemas (draft 2020-12) of LinkConfig.Settings, DeviceConfig.Settings
	// and Point.Address. An empty one means that no keys are taken (link, device)
	// or any string is (address).
	LinkSchema    json.RawMessage
	DeviceSchema  json.RawMessage
	AddressSchema json.RawMessage
}

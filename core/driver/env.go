package driver

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// Env is what the gateway offers a link. Its zero value works: it logs nothing and
// stores nothing. Its methods use what there is, so that a driver need not look.
type Env struct {
	Log     *slog.Logger // never nil inside Open; its level follows the gateway's, at once
	Store   Store        // nil where there is none
	Secrets Secrets      // nil where there are none; Secret and Resolve use it
	Meter   Meter        // nil where there is none; Count and Gauge use it
	Gateway Gateway      // nil where there is none
	Losses  Losses       // nil where there are none; Lost uses it
}

// A Store is a small durable map that the core keeps for a driver across restarts, one for each
// link. Its methods may be called concurrently and wait for the core at most as long as their
// context.
type Store interface {
	// Get returns the value of key, or nil and no error when there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put stores a value of at most 64 KiB under a key of at most 256 bytes; it
	// returns when it is durable. A nil value deletes the key. A link keeps at most
	// 1,000 values of 1 MiB in all.
	Put(ctx context.Context, key string, value []byte) error
}

// Secrets are passwords and keys that the operator keeps outside the configuration. It may be
// called concurrently.
type Secrets interface {
	// Secret answers the secret of this name. It is Denied where the link's own
	// settings do not name it, and NotFound where there is none. The caller does not
	// keep the value longer than it needs it, and never logs it.
	Secret(ctx context.Context, name string) ([]byte, error)
}

// A Meter keeps numbers of the driver's own, which the operator sees in `fieldloom status`: at
// most 64 for a link, finite, with names of at most 64 letters, digits, "_", "." and "-";
// everything else is left out. A call costs less than 100 ns and sends nothing. It may be
// called concurrently. A name is a counter or a gauge, by its first use.
type Meter interface {
	// Count adds delta, which is not negative, to a counter.
	Count(name string, delta float64)
	// Gauge sets a gauge.
	Gauge(name string, value float64)
}

// Losses take what a driver could not hand on of what a device sent. It may be called
// concurrently and from anywhere, also while the link is being closed, and does not block.
type Losses interface {
	// Lost makes a gap of a loss: the stream says then how much is missing, of whom, when
	// and why. Losses of a device that come within a second are one gap.
	Lost(loss Loss)
}

// A Loss is samples of which the driver knows, or must assume, that the device sent them,
// and that it could not emit: its queue was full, a line was too long, or the
// subscription ended before their turn. What a point's own sample says with a fault is none.
type Loss struct {
	Device   string    // whose they were; empty: of any device of the link
	Samples  uint64    // how many; 0: nobody knows
	From, To time.Time // when the first and the last came; zero: now
	Cause    string    // for people
}

// A Gateway tells who the driver works for. It may be called concurrently.
type Gateway interface {
	// Gateway answers the gateway's name and its time.
	Gateway(ctx context.Context) (name string, now time.Time, err error)
}

// SecretPrefix begins a text in the settings that stands for a secret: `password:
// secret:broker` means the secret broker.
const SecretPrefix = "secret:"

// Secret answers a secret of the gateway's, see Secrets.
func (e Env) Secret(ctx context.Context, name string) ([]byte, error) {
	if e.Secrets == nil {
		return nil, Errorf(Unsupported, "secret %q: there are no secrets here: the driver runs without a gateway", name)
	}
	return e.Secrets.Secret(ctx, name)
}

// Resolve answers the secret that a text of the settings stands for, and the text
// itself where it stands for none.
func (e Env) Resolve(ctx context.Context, text string) (string, error) {
	name, is := strings.CutPrefix(text, SecretPrefix)
	if !is {
		return text, nil
	}
	value, err := e.Secret(ctx, name)
	return string(value), err
}

// Count adds to a counter of the link, see Meter.
func (e Env) Count(name string, delta float64) {
	if e.Meter != nil {
		e.Meter.Count(name, delta)
	}
}

// Lost tells of a loss, see Losses.
func (e Env) Lost(loss Loss) {
	if e.Losses != nil {
		e.Losses.Lost(loss)
	}
}

// Gauge sets a gauge of the link, see Meter.
func (e Env) Gauge(name string, value float64) {
	if e.Meter != nil {
		e.Meter.Gauge(name, value)
	}
}

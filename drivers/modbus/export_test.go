package modbus

import (
	"context"
	"net"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/carrier"
)

// NewOver returns the driver on connections that dial makes.
func NewOver(dial func(ctx context.Context, address string) (net.Conn, error)) driver.Driver {
	return &modbusDriver{open: func(ctx context.Context, a *carrier.Address, _ driver.Env) (carrier.Conn, error) {
		conn, err := dial(ctx, a.String())
		if err != nil {
			return nil, carrier.ConnectError(a, err)
		}
		return plain{conn}, nil
	}}
}

// plain is a connection that is read to know anything of it.
type plain struct{ net.Conn }

func (plain) Discard() error { return nil }
func (plain) Ended() bool    { return false }

// RoundTrip encodes a value into registers and decodes it again.
func RoundTrip(a Address, v driver.Value) (driver.Sample, []byte, error) {
	if a.Order == DefaultOrder {
		a.Order = ABCD
	}
	b, err := a.encode(v)
	if err != nil {
		return driver.Sample{}, nil, err
	}
	return Decode(a, b), b, nil
}

// Decode decodes registers.
func Decode(a Address, registers []byte) driver.Sample {
	if a.Order == DefaultOrder {
		a.Order = ABCD
	}
	var samples [1]driver.Sample
	a.decodeAll(samples[:], registers, len(registers))
	return samples[0]
}

// Items is how many registers or bits an address takes.
func Items(a Address) int { return a.items() }

// SkipIDs moves the transaction ids of a link on by n.
func SkipIDs(l driver.Link, n uint16) { l.(*link).line.wire.lastID += n }

// Identification takes apart what a device says of itself.
func Identification(data []byte) (texts []string, more bool, next byte) {
	list, more, next := objectsOf(data)
	for _, o := range list {
		texts = append(texts, o.name+"="+o.text)
	}
	return texts, more, next
}

// OwnSample is what an answer to an address with a function of its own is.
func OwnSample(address string, data []byte) (driver.Sample, bool) {
	o, ok, err := parseOwn(address)
	if !ok || err != nil {
		return driver.Sample{}, false
	}
	if o.record.Order == DefaultOrder {
		o.record.Order = ABCD
	}
	return o.sample(data), true
}

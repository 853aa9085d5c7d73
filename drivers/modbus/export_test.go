package modbus

import (
	"context"
	"net"

	"github.com/fieldloom/fieldloom/core/driver"
)

// NewOver returns the driver on connections that dial makes.
func NewOver(dial func(ctx context.Context, address string) (net.Conn, error)) driver.Driver {
	return &modbusDriver{dial: dial}
}

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
func SkipIDs(l driver.Link, n uint16) { l.(*link).wire.lastID += n }

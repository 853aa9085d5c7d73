package modbus

import (
	"context"
	"fmt"
	"strings"

	"github.com/goburrow/modbus"

	"github.com/fieldloom/fieldloom/core/driver"
)

var (
	_ driver.Discoverer = (*link)(nil)
	_ driver.Browser    = (*device)(nil)
)

// candidates are the units that a line may have: 1 to 247 (Modbus over Serial Line V1.02, clause
// 2.2).
const candidates = 247

// Exceptions of a gateway that has no way to the unit (clause 7): the unit itself said nothing.
const (
	noPath   = 10
	noTarget = 11
)

// Discover asks a unit for its first holding register. Whatever it answers, an exception too, it
// is there; who it is it may say by its identification.
func (l *link) Discover(ctx context.Context, candidate int) (found *driver.Entry, of int, err error) {
	if candidate < 0 || candidate >= candidates {
		return nil, candidates, nil
	}
	unit := byte(candidate + 1)
	_, exception, err := l.line.transact(ctx, unit, modbus.FuncCodeReadHoldingRegisters, []byte{0, 0, 0, 1})
	switch code := driver.CodeOf(err); {
	case err == nil && exception != noPath && exception != noTarget:
	case err == nil, code == driver.Timeout, code == driver.Protocol:
		return nil, candidates, nil
	default:
		return nil, candidates, err
	}
	found = &driver.Entry{Address: fmt.Sprintf("unit %d", unit)}
	var texts []string
	for _, o := range l.line.identification(ctx, unit) {
		texts = append(texts, o.text)
	}
	found.Name = strings.Join(texts, " ")
	return found, candidates, nil
}

// An object is one thing that a device says of itself.
type object struct {
	name string
	text string
}

// objectNames are those of clause 6.21; others are the maker's own.
var objectNames = []string{"VendorName", "ProductCode", "MajorMinorRevision", "VendorUrl", "ProductName", "ModelName", "UserApplicationName"}

const (
	identificationType = 14 // of the encapsulated interface: read device identification
	basicObjects       = 1
	regularObjects     = 2
	mostObjects        = 64
)

// identification reads what a device says of itself (clause 6.21); empty: it does not. What it
// answers with is not believed further than it goes.
func (l *line) identification(ctx context.Context, unit byte) (list []object) {
	for _, code := range []byte{regularObjects, basicObjects} {
		next := byte(0)
		for len(list) < mostObjects {
			data, exception, err := l.transact(ctx, unit, funcEncapsulated, []byte{identificationType, code, next})
			if err != nil || exception != 0 {
				break
			}
			some, more, then := objectsOf(data)
			list = append(list, some...)
			if !more || then <= next {
				return list
			}
			next = then
		}
		if len(list) > 0 {
			return list
		}
	}
	return list
}

// objectsOf takes the objects out of an answer: behind type, code, conformity, more, next and
// their count each with its number, its length and its text.
func objectsOf(data []byte) (list []object, more bool, next byte) {
	if len(data) < 6 || data[0] != identificationType {
		return nil, false, 0
	}
	more, next = data[3] == 0xFF, data[4]
	for rest := data[6:]; len(rest) >= 2; {
		size := 2 + int(rest[1])
		if len(rest) < size {
			break
		}
		name := fmt.Sprintf("object %d", rest[0])
		if int(rest[0]) < len(objectNames) {
			name = objectNames[rest[0]]
		}
		list = append(list, object{name, strings.ToValidUTF8(string(rest[2:size]), "?")})
		rest = rest[size:]
	}
	return list, more, next
}

// Browse lists what the device says of itself, or below the address of registers or bits every
// reading of them.
func (d *device) Browse(ctx context.Context, prefix string, limit int) ([]driver.Entry, error) {
	if d.broadcast() {
		return nil, driver.Errorf(driver.Unsupported, "modbus: unit 0 is a broadcast, which nobody answers")
	}
	if prefix != "" {
		return d.explain(ctx, prefix, limit)
	}
	var list []driver.Entry
	for _, o := range d.line.identification(ctx, byte(d.settings.Unit)) {
		if len(list) < limit {
			list = append(list, driver.Entry{Name: o.name, Kind: driver.KindString, Value: o.text})
		}
	}
	return list, ctx.Err()
}

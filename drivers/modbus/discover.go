package modbus

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/goburrow/modbus"

	"github.com/fieldloom/fieldloom/core/driver"
)

var (
	_ driver.Discoverer = (*link)(nil)
	_ driver.Browser    = (*device)(nil)
)

// The units that a line may have are 1 to 247 (Modbus over Serial Line V1.02, clause 2.2); 0, and
// those above, are looked at where the operator says so.
const (
	firstUnit = 1
	lastUnit  = 247
)

// Exceptions of a gateway that has no way to the unit (clause 7): the unit itself said nothing.
const (
	noPath   = 10
	noTarget = 11
)

// Discover asks a unit for its first holding register. Whatever it answers, an exception too, it
// is there. Who it is it may say by its identification.
func (l *link) Discover(ctx context.Context, c driver.Candidate) (found *driver.Entry, of int, err error) {
	units, err := l.unitsWithin(c.Within)
	if err != nil {
		return nil, 0, err
	}
	if c.Number < 0 || c.Number >= len(units) {
		return nil, len(units), nil
	}
	found, err = l.probe(ctx, units[c.Number], c)
	return found, len(units), err
}

// probe asks one unit.
func (l *link) probe(ctx context.Context, unit byte, c driver.Candidate) (*driver.Entry, error) {
	found := &driver.Entry{Address: fmt.Sprintf("unit %d", unit)}
	if c.Identify {
		data, code, err := l.line.transactWithin(ctx, c.Patience, unit, funcEncapsulated, []byte{identificationType, basicObjects, 0})
		if err != nil || code != 0 {
			return nil, nil //nolint:nilerr // it does not say who it is
		}
		list, _, _ := objectsOf(data)
		if found.Name = textsOf(list); found.Name == "" {
			return nil, nil
		}
		return found, nil
	}
	data, code, err := l.line.transactWithin(ctx, c.Patience, unit, modbus.FuncCodeReadHoldingRegisters, []byte{0, 0, 0, 1})
	switch fault := driver.CodeOf(err); {
	case fault == driver.Timeout, fault == driver.Protocol:
		return nil, nil
	case err != nil:
		return nil, err
	case code == noPath || code == noTarget:
		return nil, nil
	case code != 0:
		name, _ := describe(code)
		found.Value = fmt.Sprintf("it answers exception %d (%s)", code, name)
	case len(data) == 3:
		found.Value = fmt.Sprintf("holding:0 is %d", binary.BigEndian.Uint16(data[1:]))
	}
	return found, nil
}

// unitsWithin reads units as an operator writes them: 1-32,100.
func (l *link) unitsWithin(text string) ([]byte, error) {
	if strings.TrimSpace(text) == "" {
		text = fmt.Sprintf("%d-%d", firstUnit, lastUnit)
	}
	var units []byte
	var seen [highestUnit + 1]bool
	for part := range strings.SplitSeq(text, ",") {
		low, high, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			high = low
		}
		first, err1 := strconv.ParseUint(strings.TrimSpace(low), 10, 8)
		last, err2 := strconv.ParseUint(strings.TrimSpace(high), 10, 8)
		switch {
		case err1 != nil || err2 != nil || first > last:
			return nil, driver.Errorf(driver.BadValue, "modbus: %q is no range of units: write 1-32,100, with units of 0 to 255", part)
		case first == 0 && l.line.framing.serial():
			return nil, driver.Errorf(driver.BadValue, "modbus: unit 0 of a serial line is all of them, and none answers: begin with 1")
		}
		for unit := first; unit <= last; unit++ {
			if !seen[unit] {
				seen[unit] = true
				units = append(units, byte(unit))
			}
		}
	}
	return units, nil
}

// textsOf joins what a device says of itself.
func textsOf(list []object) string {
	var texts []string
	for _, o := range list {
		if text := strings.TrimSpace(o.text); text != "" {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, " ")
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

// identification reads what a device says of itself (clause 6.21): the regular objects, or the
// basic ones where it has no others. What it answers with is not believed further than it goes.
func (l *line) identification(ctx context.Context, unit byte) (list []object, err error) {
	for _, category := range []byte{regularObjects, basicObjects} {
		list, err = l.identify(ctx, unit, category)
		if code := driver.CodeOf(err); len(list) > 0 || err != nil && (code == driver.NotConnected || code == driver.Timeout) {
			break // a device that keeps silent does so on the other too
		}
	}
	if len(list) > 0 {
		return list, nil // what follows them is lost, and that is no reason to keep them back
	}
	return nil, err
}

// identify reads the objects of a category, some with each request.
func (l *line) identify(ctx context.Context, unit, category byte) (list []object, err error) {
	next := byte(0)
	for len(list) < mostObjects {
		data, code, err := l.transact(ctx, unit, funcEncapsulated, []byte{identificationType, category, next})
		if err == nil && code != 0 {
			err = exception(code)
		}
		if err != nil {
			return list, err
		}
		some, more, then := objectsOf(data)
		list = append(list, some...)
		if !more || then <= next {
			break
		}
		next = then
	}
	return list, nil
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
	objects, err := d.line.identification(ctx, byte(d.settings.Unit))
	if err != nil {
		return nil, d.failed(err, "read the device identification")
	}
	var list []driver.Entry
	for _, o := range objects[:min(len(objects), limit)] {
		list = append(list, driver.Entry{Name: o.name, Kind: driver.KindString, Value: o.text})
	}
	return list, nil
}

package modbus

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/fieldloom/fieldloom/core/driver"
)

// readings are the ways in which registers may be meant, by the type's name in an address, with
// the registers that it takes.
var readings = []struct {
	name  string
	items int
}{
	{"uint16", 1}, {"int16", 1}, {"bcd16", 1}, {"uint32", 2}, {"int32", 2}, {"float32", 2}, {"bcd32", 2}, {"epoch32", 2},
	{"uint48", 3}, {"uint64", 4}, {"int64", 4}, {"float64", 4}, {"string:8", 4},
}

// mostExplained is how many registers a reading takes at most.
const mostExplained = 4

// explain reads an address, and shows every reading of what it holds.
func (d *device) explain(ctx context.Context, prefix string, limit int) ([]driver.Entry, error) {
	a, err := ParseAddress(prefix)
	if err != nil {
		return nil, driver.Errorf(driver.BadValue, "modbus: %w", err)
	}
	place := fmt.Sprintf("%s:%d", a.Table, a.Start)
	if a.Table.bits() {
		return d.explainBit(ctx, a, place)
	}
	raw, err := d.registers(ctx, a)
	if err != nil {
		return nil, err
	}
	list := []driver.Entry{{Address: place, Name: "raw", Kind: driver.KindBytes, Value: fmt.Sprintf("% X", raw)}}
	for _, r := range readings {
		if len(raw) < 2*r.items {
			continue
		}
		for _, order := range ordersOf(r.name, r.items) {
			e, ok := d.reading(place+":"+r.name+":"+order, raw[:2*r.items])
			if ok {
				e.Writable = a.Table.writable()
				list = append(list, e)
			}
		}
	}
	for bit := 15; bit >= 0; bit-- {
		on := binary.BigEndian.Uint16(raw)>>bit&1 == 1
		list = append(list, driver.Entry{Address: fmt.Sprintf("%s.%d", place, bit), Kind: driver.KindBool, Value: fmt.Sprint(on), Writable: a.Table.writable()})
	}
	return list[:min(len(list), max(limit, 1))], nil
}

// ordersOf are the orders that make a difference for a type.
func ordersOf(name string, items int) []string {
	switch {
	case strings.HasPrefix(name, "string"), items == 1:
		return []string{ABCD.String(), BADC.String()}
	}
	return []string{ABCD.String(), CDAB.String(), BADC.String(), DCBA.String()}
}

// registers reads as many registers from an address on as there are, four at most.
func (d *device) registers(ctx context.Context, a Address) ([]byte, error) {
	for n := mostExplained; ; n /= 2 {
		if int(a.Start)+n > 1<<16 && n > 1 {
			continue
		}
		data := binary.BigEndian.AppendUint16(nil, a.Start)
		data = binary.BigEndian.AppendUint16(data, uint16(n))
		answer, code, err := d.line.transact(ctx, byte(d.settings.Unit), readFunctions[a.Table], data)
		switch {
		case err != nil:
			return nil, d.failed(err, "read %s %d+%d", a.Table, a.Start, n)
		case code != 0 && refusesAddress(code) && n > 1:
		case code != 0:
			return nil, d.failed(exception(code), "read %s %d+%d", a.Table, a.Start, n)
		case len(answer) != 1+2*n || int(answer[0]) != 2*n:
			return nil, d.failed(driver.Errorf(driver.Protocol, "an answer of %d bytes where %d were asked", len(answer), 1+2*n), "read %s %d+%d", a.Table, a.Start, n)
		default:
			return answer[1:], nil
		}
	}
}

func (d *device) explainBit(ctx context.Context, a Address, place string) ([]driver.Entry, error) {
	data := append(binary.BigEndian.AppendUint16(nil, a.Start), 0, 1)
	answer, code, err := d.line.transact(ctx, byte(d.settings.Unit), readFunctions[a.Table], data)
	if err == nil && code != 0 {
		err = exception(code)
	}
	if err == nil && len(answer) != 2 {
		err = driver.Errorf(driver.Protocol, "an answer of %d bytes where 2 were asked", len(answer))
	}
	if err != nil {
		return nil, d.failed(err, "read %s %d+1", a.Table, a.Start)
	}
	return []driver.Entry{{Address: place, Kind: driver.KindBool, Value: fmt.Sprint(answer[1]&1 == 1), Writable: a.Table.writable(), Likely: true}}, nil
}

// reading is one way to read registers; not ok: it is no value of the type.
func (d *device) reading(address string, raw []byte) (driver.Entry, bool) {
	a, err := ParseAddress(address)
	if err != nil {
		return driver.Entry{}, false
	}
	var samples [1]driver.Sample
	a.decodeAll(samples[:], raw, len(raw))
	if samples[0].Quality != driver.Good {
		return driver.Entry{}, false
	}
	v := samples[0].Value
	return driver.Entry{Address: address, Kind: v.Kind(), Value: v.String(), Likely: likely(address, v)}, true
}

// likely reports whether a value is one that a device may well have: a number of a size that is
// measured, a text that can be read, a time of these years. It proves nothing.
func likely(address string, v driver.Value) bool {
	switch {
	case strings.Contains(address, ":epoch"):
		at, err := time.Parse(time.RFC3339Nano, v.Str())
		return err == nil && at.Year() >= 2000 && at.Year() < 2100
	case strings.Contains(address, ":string"):
		return readable(v.Str())
	case strings.Contains(address, ":float"):
		f := math.Abs(v.Float64())
		return f >= 1e-4 && f < 1e7
	case strings.Contains(address, "16"):
		return strings.HasSuffix(address, ABCD.String()) && v.Float64() != 0 && math.Abs(v.Float64()) < 32768
	case strings.Contains(address, ":bcd"):
		return v.Uint64() >= 10_000
	}
	n := math.Abs(v.Float64())
	return n >= 65536 && n < 1e8
}

func readable(s string) bool {
	if len(s) < 3 {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

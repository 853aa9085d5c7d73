package modbus

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fieldloom/fieldloom/core/driver"
)

// readings are the ways in which registers may be meant, by the type's name in an address.
var readings = []string{
	"uint16", "int16", "uint8", "uint8h", "int8", "int8h", "bcd16", "uint24", "int24", "uint32", "int32", "float32", "bcd32", "epoch32",
	"uint48", "int48", "uint64", "int64", "float64", "epoch64", "epoch64ms", "cp56", "string:8", "string:16",
}

// explainedAtOnce is how many registers are read to explain an address: fewer where those behind
// it are refused.
var explainedAtOnce = []int{8, 4, 3, 2, 1}

// explain reads an address, and shows every reading of what it holds. What the address itself
// says of its type comes first.
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
	addresses := []string{prefix}
	for _, name := range readings {
		for _, order := range ordersOf(name) {
			addresses = append(addresses, place+":"+name+order)
		}
	}
	for bit := bitsPerRegister - 1; bit >= 0; bit-- {
		addresses = append(addresses, fmt.Sprintf("%s.%d", place, bit))
	}
	for n, address := range addresses {
		e, ok := d.reading(address, raw)
		if ok && n == 0 {
			e.Name = "as it is written"
		}
		if ok {
			list = append(list, e)
		}
	}
	return list[:min(len(list), max(limit, 1))], nil
}

// ordersOf are the orders that make a difference for a type, as an address has them.
func ordersOf(name string) []string {
	a, err := ParseAddress("holding:0:" + name)
	switch {
	case err != nil || a.field():
		return []string{""}
	case a.sized(), a.items() == 1:
		return []string{":abcd", ":badc"}
	}
	return []string{":abcd", ":cdab", ":badc", ":dcba"}
}

// registers reads as many registers from an address on as there are, up to what the longest
// reading takes.
func (d *device) registers(ctx context.Context, a Address) ([]byte, error) {
	counts := explainedAtOnce
	if n := a.items(); n > counts[0] {
		counts = append([]int{n}, counts...)
	}
	var err error
	for _, n := range counts {
		if n > 1 && (int(a.Start)+n > 1<<16 || n > d.settings.MaxBlock) {
			continue
		}
		var raw []byte
		var refused bool
		if raw, refused, err = d.registersOnce(ctx, a, n); !refused {
			return raw, err
		}
	}
	return nil, err
}

// registersOnce reads n registers. refused reports whether fewer of them may be read.
func (d *device) registersOnce(ctx context.Context, a Address, n int) (raw []byte, refused bool, err error) {
	data := binary.BigEndian.AppendUint16(nil, a.Start)
	data = binary.BigEndian.AppendUint16(data, uint16(n))
	answer, code, err := d.line.transact(ctx, byte(d.settings.Unit), readFunctions[a.Table], data)
	switch {
	case err != nil:
	case code != 0:
		err = exception(code)
	case len(answer) != 1+2*n || int(answer[0]) != 2*n:
		err = driver.Errorf(driver.Protocol, "an answer of %d bytes where %d were asked", len(answer), 1+2*n)
	default:
		return answer[1:], false, nil
	}
	return nil, code != 0 && refusesAddress(code), d.failed(err, "read %s %d+%d", a.Table, a.Start, n)
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

// reading is one way to read registers, of which it takes the first; not ok: they are too few, or
// no value of the type.
func (d *device) reading(address string, raw []byte) (driver.Entry, bool) {
	a, err := ParseAddress(address)
	if err != nil || len(raw) < 2*a.items() {
		return driver.Entry{}, false
	}
	if a.Order == DefaultOrder {
		a.Order, _ = parseOrder(d.settings.Order)
	}
	raw = slices.Clone(raw[:2*a.items()])
	var samples [1]driver.Sample
	a.decodeAll(samples[:], raw, len(raw))
	if samples[0].Quality != driver.Good {
		return driver.Entry{}, false
	}
	v := samples[0].Value
	return driver.Entry{Address: address, Kind: v.Kind(), Value: v.String(), Writable: a.Table.writable(), Likely: a.likely(v)}, true
}

// The sizes of what is measured, and counted.
const (
	leastMeasured = 1e-4
	mostMeasured  = 1e7
	mostCounted   = 1e9
)

// likely reports whether a value is one that a device may well have: a number of a size that is
// measured or counted, a text that can be read, a time of these years. It proves nothing.
func (a *Address) likely(v driver.Value) bool {
	switch a.Type {
	case Epoch32, Epoch64, Epoch64Milli, CP56:
		at, err := time.Parse(time.RFC3339Nano, v.Str())
		return err == nil && at.Year() >= 2000 && at.Year() < 2100
	case String, ASCII, Latin1:
		return readable(v.Str())
	case Float32, Float64:
		f := math.Abs(v.Float64())
		return f >= leastMeasured && f < mostMeasured
	case BCD16, BCD32:
		return v.Uint64() >= 10 && a.usualOrder() // fewer digits say nothing
	case Bool, Bit, Unsigned, Signed, Bytes, Int24, Uint24:
		return false // of any content; or that of 32 bits says the same
	}
	return a.likelyNumber(v)
}

// usualOrder reports whether whole numbers come in the address's order: their bytes are seldom
// swapped within a register.
func (a *Address) usualOrder() bool { return a.Order == ABCD || a.Order == CDAB && a.items() > 1 }

// likelyNumber is likely of whole numbers.
func (a *Address) likelyNumber(v driver.Value) bool {
	n, ok := v.AsFloat64()
	if !ok || n == 0 || math.Abs(n) >= mostCounted || !a.usualOrder() {
		return false
	}
	if v.Kind() == driver.KindInt64 && n > 0 {
		return false // the unsigned reading says the same
	}
	return a.items() > 1 || math.Abs(n) < 1<<15
}

// readable reports whether a text is one, of three letters at least.
func readable(s string) bool {
	s = strings.TrimSpace(s)
	if len(s) < 3 || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
